"""Nothing is left out of a request without a word, and the word is said once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from aiohttp import web

from core.models.estimate import MESSAGE_TOKENS, text_tokens
from core.store.client import Store
from tests.support.strict_server import words
from tests.support.studio import Told, in_order, studio, text


def notices(told: list[Told]) -> list[tuple[str, str]]:
    """Level and text of each notice."""
    return [(e.data["level"], e.data["text"]) for e in told if e.type == "notice"]


def small(size: int) -> Any:
    """A server that says its context."""

    def about(request: web.Request) -> web.Response:
        entry = {"id": "m", "object": "model", "max_model_len": size}
        return web.json_response({"object": "list", "data": [entry]})

    return about


async def test_a_message_without_its_middle_is_told_with_its_size(
    store: Store, tmp_path: Path
) -> None:
    """129 KB reached the model as 24 KB, and nobody was told."""
    giant = words(random.Random(1), 32_000, ("english",))
    async with studio(store, tmp_path, in_order(text("Read.")), about=small(8192)) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, giant)
        [(level, words_)] = notices(told)
        assert level == "warning"
        assert words_.startswith("The middle of your message was left out: about 5,")
        assert f" of {text_tokens(giant) + MESSAGE_TOKENS:,} tokens reach the model" in words_
        assert [e.type for e in told].index("notice") < [e.type for e in told].index("text_delta")
        record = await it.last(thread)
        assert record["notices"] == [words_], "it is there after a reload"
        [(level, past)] = notices(await it.say(thread, "And now?"))
        assert (level, past.startswith("Older messages were")) == ("info", True)
        assert notices(await it.say(thread, "And then?")) == []


async def test_old_turns_that_do_not_fit_are_told_once_a_size(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("Read.")), about=small(4096)) as it:
        thread = await it.desk.thread()
        heard: list[tuple[str, str]] = []
        for number in range(8):
            question = words(random.Random(number), 700, ("english",))
            heard += notices(await it.say(thread, question, f"m{number}"))
        [(level, said)] = heard
        assert (level, said.startswith("Older messages were left out or shortened")) == (
            "info",
            True,
        )


async def test_a_conversation_longer_than_the_window_is_told_once(
    store: Store, tmp_path: Path
) -> None:
    groups: dict[str, Any] = {"memory": {"short_term_window": 6}}
    async with studio(store, tmp_path, in_order(text("Read.")), **groups) as it:
        thread = await it.desk.thread()
        heard: list[tuple[str, str]] = []
        for number in range(12):
            heard += notices(await it.say(thread, f"question {number}", f"m{number}"))
        [(level, said)] = heard
        assert level == "info"
        assert said.startswith("The model now reads the newest 7 of ")


async def test_what_fits_is_not_talked_about(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("Read."))) as it:
        thread = await it.desk.thread()
        for number in range(5):
            assert notices(await it.say(thread, f"question {number}", f"m{number}")) == []
        assert (
            "told"
            not in (await it.graph.aget_state({"configurable": {"thread_id": thread}})).values
        )
