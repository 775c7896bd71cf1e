"""A call that went wrong before anything ran is made again, and does not cost the only round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.store.client import Store
from nodes.request.offers import CORRECTIONS
from tests.support.studio import calls, in_order, shown, studio, text
from tools.base import Tool, tool

RIGHT = ("double", {"number": 4})
WRONG: dict[str, tuple[str, Any]] = {
    "no JSON": ("double", '{"number": four}'),
    "no object": ("double", "[4]"),
    "no name": ("", {"number": 4}),
    "no such tool": ("dubble", {"number": 4}),
    "wrong arguments": ("double", {"nummer": 4}),
}
OFF: dict[str, Any] = {"orchestrator": {"autonomous_mode": False}}


def tools() -> list[Tool]:
    """One tool."""

    async def double(number: int) -> str:
        """Double a number.

        Args:
            number: Which one.
        """
        return str(number * 2)

    return [tool(double)]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_the_model_gets_its_correction_and_another_try(
    store: Store, tmp_path: Path, wrong: tuple[str, Any]
) -> None:
    script = in_order(calls(wrong), calls(RIGHT), text("It is 8."))
    async with studio(store, tmp_path, script, tools=tools(), **OFF) as it:
        told = await it.say(await it.desk.thread(), "Double four")
        assert shown(told) == "It is 8."
        ends = [e.data for e in told if e.type == "tool_finished"]
        assert [end["status"] for end in ends][1:] == ["ok"]
        assert ends[1]["summary"] == "8"
        assert [bool(body.get("tools")) for body in it.model.bodies] == [True, True, False]


async def test_a_wrong_call_beside_a_right_one_is_made_again(store: Store, tmp_path: Path) -> None:
    script = in_order(
        calls(RIGHT, ("dubble", {"number": 5})), calls(("double", {"number": 5})), text("8 and 10.")
    )
    async with studio(store, tmp_path, script, tools=tools(), **OFF) as it:
        told = await it.say(await it.desk.thread(), "Double four and five")
        done = [e.data["summary"] for e in told if e.type == "tool_finished"]
        assert (done[-1], shown(told)) == ("10", "8 and 10.")


async def test_corrections_have_an_end(store: Store, tmp_path: Path) -> None:
    """A model that never learns gets some tries, then it must answer."""
    script = in_order(calls(WRONG["no JSON"], words="Wait."))
    async with studio(store, tmp_path, script, tools=tools(), **OFF) as it:
        told = await it.say(await it.desk.thread(), "Double four")
        assert [e.type for e in told].count("tool_finished") == CORRECTIONS + 1
        assert told[-1].data == {"status": "completed"}
        assert "tools" not in it.model.bodies[-1]
        assert len(it.model.bodies) == CORRECTIONS + 2


async def test_a_tool_that_fails_is_no_wrong_call(store: Store, tmp_path: Path) -> None:
    """It ran; its round is spent."""

    async def fail() -> str:
        """Fail."""
        raise ValueError("sorry")

    script = in_order(calls(("fail", {})), text("It failed."))
    async with studio(store, tmp_path, script, tools=[tool(fail)], **OFF) as it:
        await it.say(await it.desk.thread(), "Go")
        assert [bool(body.get("tools")) for body in it.model.bodies] == [True, False]
