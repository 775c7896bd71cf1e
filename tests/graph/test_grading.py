"""Autonomous mode: several rounds, and a grade for answers that needed tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from core.settings.groups import OrchestratorSettings
from core.store.client import Store
from tests.support.studio import Reply, Script, calls, failing, in_order, shown, studio, text
from tools.base import Tool, tool

ON: dict[str, Any] = {"orchestrator": {"autonomous_mode": True}}


def tools() -> list[Tool]:
    """One tool."""

    async def double(number: int) -> str:
        """Double a number.

        Args:
            number: Which one.
        """
        return str(number * 2)

    return [tool(double)]


def is_grader(body: dict[str, Any]) -> bool:
    return "You grade" in body["messages"][0]["content"]


def graded(*grades: str, answer: str = "An answer.") -> Script:
    """A model that needs a tool, and whose answers are graded by itself, one grade after the
    other."""
    left = list(grades)

    def script(body: dict[str, Any]) -> Reply:
        if is_grader(body):
            return text(left.pop(0) if len(left) > 1 else left[0])
        if not any(message["role"] == "tool" for message in body["messages"]):
            return calls(("double", {"number": 1}))
        return text(answer)

    return script


def test_the_mode_is_on_as_delivered() -> None:
    assert OrchestratorSettings().autonomous_mode


async def test_a_low_grade_sends_the_answer_back(store: Store, tmp_path: Path) -> None:
    script = graded('{"score":0.2,"missing":"the year"}', 'Sure: {"score": 0.95, "missing": ""}')
    async with studio(store, tmp_path, script, tools=tools(), **ON) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "When?")
        assert [e.type for e in told].count("message_completed") == 2
        assert shown(told) == "An answer."
        asked = [m["content"] for m in it.model.bodies[3]["messages"] if m["role"] == "user"]
        assert "the year" in asked[-1]
        assert (await it.last(thread))["status"] == "completed"


@pytest.mark.parametrize("autonomous", [None, True, False])
async def test_a_plain_answer_costs_one_call_of_the_model(
    store: Store, tmp_path: Path, autonomous: bool | None
) -> None:
    """The mode is on by default, so that tools serve; a greeting must not wait for a grade."""
    async with studio(store, tmp_path, in_order(text("Hello.")), tools=tools(), **ON) as it:
        thread = await it.desk.thread()
        for number in range(2):
            told = await it.say(thread, "Hi", f"m{number}", autonomous=autonomous)
            assert (shown(told), len(it.model.bodies)) == ("Hello.", number + 1)


async def test_a_message_can_ask_for_one_round(store: Store, tmp_path: Path) -> None:
    """Off: one iteration, no loop of tools, no grade."""
    async with studio(store, tmp_path, graded('{"score": 0}'), tools=tools(), **ON) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Double one", autonomous=False)
        assert shown(told) == "An answer."
        assert [bool(body.get("tools")) for body in it.model.bodies] == [True, False]


async def test_a_grader_of_nonsense_ends_the_loop(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, graded("I like it."), tools=tools(), **ON) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Hi")
        assert told[-1].data == {"status": "completed"}
        assert len(it.model.bodies) == 3


async def test_a_grader_that_fails_ends_the_loop(store: Store, tmp_path: Path) -> None:
    def script(body: dict[str, Any]) -> Reply:
        return failing(400, "no") if is_grader(body) else well(body)

    well = graded("")
    async with studio(store, tmp_path, script, tools=tools()) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Hi", autonomous=True)
        assert told[-1].data == {"status": "completed"}
        assert shown(told) == "An answer."
        assert is_grader(it.model.bodies[-1])


async def test_max_iterations_end_the_loop(store: Store, tmp_path: Path) -> None:
    groups: dict[str, Any] = {"orchestrator": {"autonomous_mode": True, "max_iterations": 3}}
    script = graded('{"score": 0, "missing": "all"}')
    async with studio(store, tmp_path, script, tools=tools(), **groups) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Hi")
        assert [e.type for e in told].count("message_completed") == 3
        assert told[-1].data == {"status": "completed"}
        users = [m for m in await it.state(thread) if isinstance(m, HumanMessage)]
        assert len(users) == 3, "the question and two remarks"
