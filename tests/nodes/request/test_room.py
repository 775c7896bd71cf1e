"""How much a request may hold, after refusals and answers of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AnyMessage, HumanMessage

from core.models.errors import ModelError
from core.models.estimate import text_tokens
from core.store.client import Store
from nodes.evaluate import shared, transcript
from nodes.request.room import SHRINK, Room
from tests.support.strict_server import StrictServer
from tests.support.studio import Reply, studio
from tools.base import tool


def too_long(**said: Any) -> ModelError:
    return ModelError("context_overflow", **said)


def test_what_the_server_counted_is_used() -> None:
    room = Room(32_768, estimate=20_000)
    assert room.shrink(too_long(context_window=8192, prompt_tokens=40_000))
    assert (room.limit, room.density, room.size) == (8192, 2.0, 4096)


def test_each_refusal_leaves_less_until_nothing_is_left_to_try() -> None:
    room, sizes = Room(32_768, estimate=20_000), [32_768]
    while room.shrink(too_long()):
        sizes.append(room.size)
    assert sizes == sorted(set(sizes), reverse=True)
    assert len(sizes) == len(SHRINK) + 1
    assert sizes[-1] < 32_768 / 64
    assert not Room(8192).shrink(ModelError("auth"))


@pytest.mark.parametrize(
    ("max_tokens", "reply", "most"), [(None, 2048, None), (100, 2048, None), (8000, 4096, 4096)]
)
def test_room_for_the_answer(max_tokens: int | None, reply: int, most: int | None) -> None:
    room = Room(8192)
    assert (room.reply(max_tokens), room.most(max_tokens)) == (reply, most)


@given(st.lists(st.text(max_size=600), max_size=40), st.integers(0, 4000))
def test_a_transcript_keeps_to_its_budget(lines: list[str], budget: int) -> None:
    short = shared(lines, budget)
    assert sum(text_tokens(line) for line in short) <= max(budget, 64) + 2 * len(short)
    if len(short) == len(lines):
        assert all(one == other or len(other) > 64 for one, other in zip(short, lines, strict=True))


async def test_summary_and_grade_fit_a_small_context(store: Store, tmp_path: Path) -> None:
    """Both were always refused in a small context: nothing was ever remembered or graded."""
    server = StrictServer(4096, says=32_768)
    graded: list[str] = []

    async def look() -> str:
        """Look."""
        return "seen"

    def reply(body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]] | str:
        words = body["messages"][0]["content"]
        if "keep the summary" in words:
            return "They talked at length."
        if "You grade" in words:
            graded.append(body["messages"][1]["content"])
            return '{"score": 1, "missing": ""}'
        asked = body["messages"][-1]
        if asked["role"] == "user" and "question 7" in asked["content"]:
            return [("look", {})]
        return "An answer of some words. " * 100

    server.reply = reply

    def script(body: dict[str, Any]) -> Reply:
        return lambda request: server.chat(body, request)

    groups: dict[str, Any] = {"memory": {"short_term_window": 8}}
    async with studio(
        store, tmp_path, script, tools=[tool(look)], about=server.about, **groups
    ) as it:
        thread = await it.desk.thread()
        for number in range(8):
            question = f"question {number}: " + "long words " * 900
            told = await it.say(thread, question, f"m{number}", autonomous=number > 6)
            assert told[-1].data == {"status": "completed"}
        assert await it.summary(thread) == "They talked at length."
        assert len(graded) == 1
        assert "question 7" in graded[0]
        assert server.refused <= 2


def test_a_transcript_of_anything_is_closed() -> None:
    messages: list[AnyMessage] = [HumanMessage("x" * 50_000)] * 40
    text = transcript(messages, 500)
    assert text.startswith("<transcript>")
    assert text.endswith("</transcript>")
    assert text_tokens(text) <= 520
