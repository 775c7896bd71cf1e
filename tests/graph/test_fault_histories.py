"""Public reports of conversations that died: what the servers sent, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.store.client import Store
from tests.support.manners import mistral, openai
from tests.support.quirks_server import DONE, answer
from tests.support.studio import Reply, failing, shown, studio
from tools.base import Tool, tool

FILE = Path(__file__).parent.parent / "fixtures" / "model_faults.jsonl"
ROWS: dict[str, dict[str, Any]] = {
    row["id"]: row for row in map(json.loads, FILE.read_bytes().splitlines())
}
RULES = {
    "nameless_call_stuck": openai,
    "mistral_id": mistral,
    "mistral_id_again": mistral,
    "broken_then_right": openai,
}


def streamed(chunks: list[Any]) -> Reply:
    """An answer as it was recorded."""
    parts = [b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks if isinstance(c, dict)]
    return lambda request: answer(request, *parts, DONE)


def tools(stored: list[str]) -> list[Tool]:
    """The tools that the recorded calls name."""

    async def set_profile(key: str, value: str) -> str:
        """Store something.

        Args:
            key: What.
            value: Its value.
        """
        stored.append(f"{key}={value}")
        return "stored"

    async def get_profile() -> str:
        """Read what is stored."""
        return "nothing"

    return [tool(set_profile), tool(get_profile)]


@pytest.mark.parametrize("name", RULES)
async def test_the_conversation_goes_on(store: Store, tmp_path: Path, name: str) -> None:
    row = ROWS[name]
    left = [row["server_chunks"], *row["then"]]
    refused: list[str] = []
    stored: list[str] = []

    def script(body: dict[str, Any]) -> Reply:
        if why := RULES[name](body):
            refused.append(why)
            return failing(400, why)
        return streamed(left.pop(0) if len(left) > 1 else left[0])

    async with studio(store, tmp_path, script, tools=tools(stored)) as it:
        thread = await it.desk.thread()
        for number, words in enumerate(row.get("user_messages", ["One", "Two"])):
            assert shown(await it.say(thread, words, f"m{number}")) == "DONE"
    assert refused == []
    assert stored == (["city=Oslo"] if name == "broken_then_right" else [])
