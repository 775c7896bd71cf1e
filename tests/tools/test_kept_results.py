"""Reading on in results that were too long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.engine.kept import READ_TOOL, KeptResults, result_id
from core.models.estimate import text_tokens
from core.store.client import Store
from nodes.tool_agent import run_call
from tests.support.studio import Studio, in_order, studio, text
from tools import kept_results
from tools.base import Caller
from tools.kept_results import AROUND, MATCHES, found, part

NAME = result_id("r", "c")


async def read(it: Studio, thread: str, **arguments: Any) -> tuple[str, str]:
    [reader] = kept_results.toolset(it.services)
    assert reader.name == READ_TOOL
    given = {"result_id": NAME, **arguments}
    return await run_call(reader, given, Caller("u1", thread, f"{thread}.r"), 5)


async def kept(it: Studio, words: str) -> str:
    """A conversation with a kept result."""
    thread = await it.desk.thread()
    await it.desk.send(thread)
    await KeptResults(it.services.store).keep(await it.take(thread), NAME, words)
    return thread


async def test_a_part_and_where_it_stands(store: Store, tmp_path: Path) -> None:
    words = "".join(f"line {number}\n" for number in range(20_000))
    async with studio(store, tmp_path, in_order(text("x")), model={"context_window": 6000}) as it:
        thread = await kept(it, words)
        status, shown = await read(it, thread, offset=7, length=14)
        assert (status, shown) == (
            "ok",
            f"line 1\nline 2\n\n[characters 7 to 21 of {len(words)}; read on with offset=21]",
        )
        status, shown = await read(it, thread, offset=-13)
        end = len(words)
        place = f"[characters {end - 13} to {end} of {end}; this is the end]"
        assert shown == f"{words[-13:]}\n{place}"
        status, shown = await read(it, thread)
        assert status == "ok"
        assert text_tokens(shown) <= 1000 + 20, "as much as a result may take, not more"
        assert len(shown) > 3500


async def test_searching(store: Store, tmp_path: Path) -> None:
    words = "hay " * 30_000 + "Needle [x] " + "hay " * 30_000 + "needle [x]"
    async with studio(store, tmp_path, in_order(text("x"))) as it:
        thread = await kept(it, words)
        _, shown = await read(it, thread, find="NEEDLE [X]")
        assert shown.startswith("2 matches:\n[at 120000] hay hay")
        _, shown = await read(it, thread, find="needle", offset=130_000)
        assert shown.startswith("1 matches:\n[at ")
        _, shown = await read(it, thread, find="pin")
        assert shown == f"'pin' is not in the characters 0 to {len(words)}."
        _, shown = await read(it, thread, find="hay")
        assert shown.startswith(f"60000 matches, the first {MATCHES} of them:")


async def test_another_conversation_is_out_of_reach(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("x"))) as it:
        thread = await kept(it, "secret")
        assert "secret" in (await read(it, thread))[1]
        other = await it.desk.thread(user="u2")
        for wanted in (NAME, f"{thread}", "order", "*", ""):
            status, shown = await read(it, other, result_id=wanted)
            assert (status, "no kept result" in shown) == ("error", True)
        status, _ = await read(it, thread, result_id="order")
        assert status == "error"


@pytest.mark.parametrize("offset", [10**12, -(10**12), 0])
def test_no_place_is_outside(offset: int) -> None:
    start = min(max(offset + 5 if offset < 0 else offset, 0), 5)
    assert "of 5" in part("abcde", start, 1, 100)


@given(st.text(max_size=300), st.text(min_size=1, max_size=3), st.integers(1, 300))
def test_searching_never_shows_more_than_it_may(text: str, words: str, tokens: int) -> None:
    shown = found(text * 20, words, 0, tokens)
    assert text_tokens(shown) <= tokens + 40 * (MATCHES + 1)
    assert len(shown) < (2 * AROUND + 20) * (MATCHES + 1) + 100


@given(st.text(max_size=300), st.integers(0, 300), st.integers(1, 300), st.integers(1, 100))
def test_parts_join_to_the_whole(text: str, start: int, length: int, tokens: int) -> None:
    shown = part(text, min(start, len(text)), length, tokens)
    body = shown.rpartition("\n[characters ")[0]
    assert text[min(start, len(text)) :].startswith(body)
    assert text_tokens(body) <= max(tokens, 1)
