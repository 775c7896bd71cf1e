"""Turns that wait for a decision of the user, and go on with it: in another run, after a crash."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import interrupt

from core.conversations.inbound import Choice, Decision
from core.store.client import Store
from nodes.state import APPROVAL
from tests.support.desk import USER
from tests.support.studio import (
    Studio,
    Told,
    calls,
    died,
    in_order,
    kinds,
    shown,
    studio,
    text,
)
from tools.base import Tool, tool


def sending(sent: list[str]) -> list[Tool]:
    """A tool that asks before it acts, and one that does not."""

    async def send(letter: str) -> str:
        """Send a letter.

        Args:
            letter: Its text.
        """
        decision: dict[str, Any] = interrupt({APPROVAL: letter})
        if decision["choice"] == "refuse":
            return f"refused: {decision['reason']}"
        arguments: dict[str, str] = decision["arguments"] or {"letter": letter}
        letter = arguments["letter"]
        sent.append(letter)
        return f"sent {letter}"

    async def look() -> str:
        """Look out of the window."""
        sent.append("looked")
        return "rain"

    return [tool(send), tool(look)]


def decision(thread: str, about: str, choice: Choice = "approve", **more: Any) -> Decision:
    name = more.pop("id", f"d-{about}-{choice}")
    return Decision(name, USER, thread, "web", about, choice, **more)


async def happen(it: Studio, inbound: Decision) -> list[Told]:
    """Hand a decision in, run its turn, return its events."""
    accepted = await it.services.bus.submit(inbound, it.desk.settings)
    assert await it.turns().take(await it.take(inbound.thread_id)) is None
    return await it.told(inbound.thread_id, accepted.run_id)


async def answers(it: Studio, thread: str) -> list[dict[str, Any]]:
    """What the transcript shows of the assistant."""
    page = await it.services.threads.page(thread, limit=50, before=None)
    return [dict(m) for m in page.messages if m["role"] == "assistant"]


async def test_a_paused_turn_was_told_as_completed(store: Store, tmp_path: Path) -> None:
    sent: list[str] = []
    script = in_order(calls(("look", {}), ("send", {"letter": "a"})), text("It is sent."))
    async with studio(store, tmp_path, script, tools=sending(sent)) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Send a")
        assert told[-1] == Told("turn_finished", {"status": "waiting"})
        assert "turn_failed" not in kinds(told)
        assert sent == ["looked"]
        [waiting] = await answers(it, thread)
        assert waiting["status"] == "waiting"
        assert [call["status"] for call in waiting["tools"]] == ["ok", "running"]

        told = await happen(it, decision(thread, "a"))
        assert sent == ["looked", "a"], "what had run beside it does not run again"
        assert told[-1] == Told("turn_finished", {"status": "completed"})
        assert shown(told) == "It is sent."
        results = [e.data["summary"] for e in told if e.type == "tool_finished"]
        assert results == ["rain", "sent a"]
        [answer] = await answers(it, thread)
        assert (answer["status"], answer["text"]) == ("completed", "It is sent.")
        assert [call["status"] for call in answer["tools"]] == ["ok", "ok"]
        assert answer["answer_to"] == waiting["answer_to"]
        [question] = [m for m in await it.state(thread) if m.type == "human"]
        assert question.text == "Send a"


async def test_a_refusal_and_other_arguments_reach_the_tool(store: Store, tmp_path: Path) -> None:
    sent: list[str] = []
    script = in_order(calls(("send", {"letter": "a"})), text("As you like."))
    async with studio(store, tmp_path, script, tools=sending(sent)) as it:
        thread = await it.desk.thread()
        await it.say(thread, "Send a")
        told = await happen(it, decision(thread, "a", "refuse", reason="too long"))
        results = [e.data["summary"] for e in told if e.type == "tool_finished"]
        assert (results, sent) == (["refused: too long"], [])
    script = in_order(calls(("send", {"letter": "a"})), text("As you like."))
    async with studio(store, tmp_path, script, tools=sending(sent)) as it:
        thread = await it.desk.thread()
        await it.say(thread, "Send a")
        await happen(it, decision(thread, "a", arguments={"letter": "b"}))
        assert sent == ["b"]


async def test_two_that_wait_are_decided_one_by_one(store: Store, tmp_path: Path) -> None:
    sent: list[str] = []
    script = in_order(calls(("send", {"letter": "a"}), ("send", {"letter": "b"})), text("Sent."))
    async with studio(store, tmp_path, script, tools=sending(sent)) as it:
        thread = await it.desk.thread()
        await it.say(thread, "Send both")
        told = await happen(it, decision(thread, "b"))
        assert told[-1].data["status"] == "waiting"
        assert sent == ["b"]
        told = await happen(it, decision(thread, "b", "refuse"))
        assert told[-2].data["code"] == "nothing_waits", "it was decided before"
        told = await happen(it, decision(thread, "a"))
        assert told[-1].data["status"] == "completed"
        assert sent == ["b", "a"]


async def test_a_message_instead_of_the_decision_ends_the_waiting(
    store: Store, tmp_path: Path
) -> None:
    sent: list[str] = []
    script = in_order(calls(("send", {"letter": "a"})), text("Well then."))
    async with studio(store, tmp_path, script, tools=sending(sent)) as it:
        thread = await it.desk.thread()
        await it.say(thread, "Send a")
        assert shown(await it.say(thread, "No, wait")) == "Well then."
        before = await answers(it, thread)
        told = await happen(it, decision(thread, "a"))
        assert told[-2].data["code"] == "nothing_waits"
        assert await answers(it, thread) == before
        assert sent == []


async def test_a_decision_is_not_lost_with_its_worker(store: Store, tmp_path: Path) -> None:
    """It died after the tool had run, before the answer was there."""
    sent: list[str] = []
    hangs = asyncio.Event()

    async def never(_request: Any) -> Any:
        hangs.set()
        await asyncio.Event().wait()

    script = in_order(calls(("send", {"letter": "a"})), never, text("It is sent."))
    async with studio(store, tmp_path, script, tools=sending(sent)) as it:
        thread = await it.desk.thread()
        await it.say(thread, "Send a")
        accepted = await it.services.bus.submit(decision(thread, "a"), it.desk.settings)
        dying = asyncio.create_task(it.turns("A").take(await it.take(thread, "A")))
        await hangs.wait()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        await died(it, thread)
        await it.turns("B").take(await it.take(thread, "B"))
        told = await it.told(thread, accepted.run_id)
        assert sent == ["a"]
        assert told[-1] == Told("turn_finished", {"status": "completed"})
        [answer] = await answers(it, thread)
        assert (answer["text"], [call["status"] for call in answer["tools"]]) == (
            "It is sent.",
            ["ok"],
        )


@pytest.mark.parametrize("again", ["retry", "resume"])
async def test_what_waits_waits_again(store: Store, tmp_path: Path, again: str) -> None:
    """When the message is tried again, and when its worker died before it could tell."""
    sent: list[str] = []
    call = calls(("send", {"letter": "a"}))
    script = in_order(call, *([call] if again == "retry" else []), text("It is sent."))
    async with studio(store, tmp_path, script, tools=sending(sent)) as it:
        thread = await it.desk.thread()
        if again == "retry":
            await it.say(thread, "Send a", "m1")
            told = await it.say(thread, "Send a", retry_of="m1")
        else:
            run = (await it.desk.send(thread)).run_id
            turns = it.turns("A")
            await turns._run(await it.take(thread, "A"))  # pyright: ignore[reportPrivateUsage] - all but the end, as a crash leaves it
            await died(it, thread)
            await it.turns("B").take(await it.take(thread, "B"))
            told = await it.told(thread, run)
        assert told[-1].data["status"] == "waiting"
        await happen(it, decision(thread, "a"))
        assert sent == ["a"]
        [answer] = await answers(it, thread)
        assert answer["text"] == "It is sent."
