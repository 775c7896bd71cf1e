"""What the model is told in each request is small, and nothing that matters is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.accounts.profile import MAX_ENTRIES, MAX_KEY, MAX_VALUE
from core.models.estimate import text_tokens
from core.store.client import Store
from nodes.request.context import profile_text, system_prompt
from tests.support.quirks_server import DONE, answer, chunk
from tests.support.strict_server import TOOLS_TEMPLATE, StrictServer, tokens
from tests.support.studio import Reply, in_order, shown, studio, text
from tools.toolsets import build_toolbox

MOST = 2500
"""Tokens of system prompt, profile and tools together: what is left of a context of 4096 must do
for the conversation."""


def profile(entries: int, letter: str = "x") -> dict[str, str]:
    return {f"{n:02}_{'k' * (MAX_KEY - 3)}": letter * MAX_VALUE for n in range(entries)}


@pytest.mark.parametrize("entries", [0, 1, MAX_ENTRIES])
@pytest.mark.parametrize("letter", ["x", "я", "港"])
async def test_prompt_profile_and_tools_are_small(
    store: Store, tmp_path: Path, entries: int, letter: str
) -> None:
    async with studio(store, tmp_path, in_order(text("x"))) as it:
        offer = build_toolbox(it.services).for_turn("u1", "t").everything
    words = system_prompt({"name": "Ada", **profile(entries, letter)}, "")
    assert text_tokens(words) + offer.tokens <= MOST
    schemas = StrictServer(MOST).size({"messages": [], "tools": offer.schemas})
    assert tokens(words) + schemas - TOOLS_TEMPLATE <= MOST


def test_short_facts_come_first_and_the_model_knows_of_the_others() -> None:
    words = profile_text({**profile(40), "name": "Ada", "time_zone": "Asia/Tokyo"})
    assert "- name: Ada" in words
    assert "- time_zone: Asia/Tokyo" in words
    assert words.endswith("more, longer ones: get_profile reads them")
    assert "get_profile" not in profile_text({"name": "Ada"})


async def test_the_instructions_of_a_stateless_client_do_not_age(
    store: Store, tmp_path: Path
) -> None:
    """They were the oldest message, and the first to fall out of the window."""
    history: tuple[dict[str, Any], ...] = (
        {"role": "system", "content": "Speak like a pirate."},
        *({"role": "user", "content": f"message {number} " * 90} for number in range(60)),
    )
    async with studio(
        store, tmp_path, in_order(text("Aye.")), model={"context_window": 4096}
    ) as it:
        thread = await it.desk.thread(ttl=60)
        assert shown(await it.say(thread, "Who?", history=history)) == "Aye."
        system, *rest = it.model.bodies[0]["messages"]
        assert "Speak like a pirate." in system["content"]
        assert [message["role"] for message in rest] == ["user"]


def thinks_until(size: int) -> Any:
    """A model whose thinking fills what a long conversation leaves of its context."""

    def script(body: dict[str, Any]) -> Reply:
        if sum(tokens(str(m["content"])) for m in body["messages"]) <= size:
            return text("I see.")
        parts = (chunk({"reasoning_content": "Hm. " * 50}), chunk({}, "length"), DONE)
        return lambda request: answer(request, *parts)

    return script


async def test_thinking_that_fills_the_context_gets_more_of_it(
    store: Store, tmp_path: Path
) -> None:
    """Every turn failed from then on: the conversation was as long as ever."""
    async with studio(store, tmp_path, thinks_until(1800), model={"context_window": 4096}) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "What is this? " + "word " * 9000)
        assert shown(told) == "I see."
        assert "asked again" in [e.data["text"] for e in told if e.type == "notice"][-1]
        assert len(it.model.bodies) == 2


async def test_thinking_that_reaches_its_own_limit_is_not_asked_again(
    store: Store, tmp_path: Path
) -> None:
    async with studio(store, tmp_path, thinks_until(1), model={"context_window": 4096}) as it:
        told = await it.say(await it.desk.thread(), "Short.")
        assert told[-2].data["code"] == "truncated"
        assert len(it.model.bodies) == 1
