"""Whatever a turn left behind, the next message is answered, also by the strictest server."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.store.client import Store
from nodes.prompts import prompt
from nodes.request.suspects import LEFT_OUT, WITHOUT_PAST, WITHOUT_RESULTS
from tests.support.manners import MANNERS
from tests.support.quirks_server import DONE, answer, chunk
from tests.support.studio import (
    Reply,
    Studio,
    Told,
    broken,
    calls,
    died,
    failing,
    in_order,
    shown,
    stuck,
    studio,
    text,
)
from tests.support.waiting import wait_until
from tools.base import Tool, tool

POISON = "unspeakable"
"""A word that the server takes nowhere."""

LEARNT = {"gemma": 4}
"""Refusals from which one learns that a template has no system role and no tools. Twice each, where
the request is refused for the poison, too."""

SAID = "That cannot be processed"


def tools() -> list[Tool]:
    """One that works, one that never ends, one whose result the server refuses."""

    async def double(number: int) -> str:
        """Double a number.

        Args:
            number: Which one.
        """
        return str(number * 2)

    async def hang() -> str:
        """Never end."""
        await asyncio.Event().wait()
        return ""

    async def poison() -> str:
        """Say what must not be said."""
        return f"It is {POISON}."

    async def silent() -> str:
        """Say nothing."""
        return ""

    return [tool(double), tool(hang), tool(poison), tool(silent)]


@dataclass
class Server:
    """A strict server: it refuses what its manner forbids, or the poison; else it follows the plan
    of the turn."""

    manner: str
    plan: list[Reply] = field(default_factory=list[Reply])
    refused: list[str] = field(default_factory=list[str])

    def reply(self, body: dict[str, Any]) -> Reply:
        """What it answers to one request."""
        if why := MANNERS[self.manner](body):
            self.refused.append(why)
            return failing(400, f"Jinja Exception: {why}" if self.manner == "gemma" else why)
        if POISON in json.dumps(body["messages"]):
            return failing(400, SAID)
        if prompt("grader") in json.dumps(body["messages"], ensure_ascii=False):
            return text('{"score": 1, "missing": ""}')
        return self.plan.pop(0) if self.plan else text("Fine.")


def odd_calls(*ids: str | None) -> Reply:
    """Calls under the ids that some servers give."""
    deltas = [
        {"index": n, "id": i, "function": {"name": "double", "arguments": '{"number": 2}'}}
        for n, i in enumerate(ids)
    ]
    parts = (chunk({"tool_calls": deltas}), chunk({}, "tool_calls"), DONE)
    return lambda request: answer(request, *parts)


RIGHT = calls(("double", {"number": 4}))
PLANS: dict[str, Callable[[], list[Reply]]] = {
    "plain": lambda: [text("Four.")],
    "a call": lambda: [calls(("double", {"number": 1}), words="Let me see.")],
    "two calls": lambda: [calls(("double", {"number": 1}), ("silent", {}), ids="x")],
    "odd ids": lambda: [odd_calls("abcdefghi", None)],
    "one id for two": lambda: [odd_calls("abcdefghi", "abcdefghi")],
    "long ids": lambda: [odd_calls("functions.double:0", "й" * 300)],
    "broken arguments": lambda: [calls(("double", '{"number": ')), RIGHT],
    "no name": lambda: [calls(("", {})), RIGHT],
    "a strange name": lambda: [calls(("двойной! " + "x" * 300, {}), ("a b", {}))],
    "only broken calls": lambda: [calls(("", "["))] * 9,
    "breaks off": lambda: [broken("Half an ans")],
    "breaks off after a call": lambda: [RIGHT, broken("It is")],
    "fails": lambda: [failing(500, "out of memory")] * 3,
    "fails after a call": lambda: [RIGHT, *[failing(500, "out of memory")] * 3],
    "says nothing": lambda: [text(" ")],
    "refused result": lambda: [calls(("poison", {}))],
}
ENDLESS = ("stopped while it speaks", "stopped in a tool", "killed in a tool")


@asynccontextmanager
async def world(
    store: Store, home: Path, manner: str, **groups: Any
) -> AsyncGenerator[tuple[Studio, Server]]:
    """A studio with a strict server."""
    server = Server(manner)
    async with studio(store, home, server.reply, tools=tools(), **groups) as it:
        yield it, server


async def endless(it: Studio, server: Server, thread: str, kind: str) -> None:
    """A turn that is stopped, or whose worker is killed and that another one finishes."""
    speaking = kind == "stopped while it speaks"
    gate = asyncio.Event()
    server.plan = [stuck("So far", gate) if speaking else calls(("hang", {}), ("double", {}))]
    run = (await it.desk.send(thread, f"m{len(await it.desk.entries(thread))}")).run_id
    turns = it.turns("A")
    working = asyncio.create_task(turns.take(await it.take(thread, "A")))
    wanted = "text_delta" if speaking else "tool_finished"

    async def reached() -> bool:
        return any(event.type == wanted for event in await it.told(thread, run))

    await wait_until(reached)
    gate.set() if kind.startswith("killed") else turns.stop(run, "user")
    if kind == "killed in a tool":
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await died(it, thread)
        finishing = it.turns("B")
        again = asyncio.create_task(finishing.take(await it.take(thread, "B")))
        await wait_until(lambda: _started_again(it, thread, run))
        finishing.stop(run, "user")
        working = again
    await asyncio.wait_for(working, 5)


async def _started_again(it: Studio, thread: str, run: str) -> bool:
    started = [e for e in await it.told(thread, run) if e.type == "turn_started"]
    return len(started) > 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("seed", range(4))
async def test_random_histories_are_never_refused(
    store: Store, tmp_path: Path, manner: str, seed: int
) -> None:
    dice = random.Random(f"{seed}{manner}")
    groups: dict[str, Any] = {"memory": {"short_term_window": dice.choice((4, 7, 20))}}
    async with world(store, tmp_path, manner, **groups) as (it, server):
        thread = await it.desk.thread()
        for number in range(14):
            kind = dice.choice((*PLANS, *ENDLESS, "refused"))
            if kind in ENDLESS:
                await endless(it, server, thread, kind)
            else:
                server.plan = PLANS[kind]() if kind in PLANS else []
                words = f"Say something {POISON if kind == 'refused' else ''}"
                await it.say(thread, words, f"n{number}", autonomous=dice.random() < 0.4)
            if dice.random() < 0.5:
                server.plan = []
                told = await it.say(thread, "And now?", f"q{number}")
                assert (shown(told), kind) == ("Fine.", kind)
                assert POISON not in json.dumps(it.model.bodies[-1])
        assert len(server.refused) <= LEARNT.get(manner, 0), server.refused


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("kind", [*PLANS, *ENDLESS, "refused"])
async def test_after_each_kind_of_turn_the_next_is_answered(
    store: Store, tmp_path: Path, manner: str, kind: str
) -> None:
    async with world(store, tmp_path, manner) as (it, server):
        thread = await it.desk.thread()
        for number in range(2):
            if kind in ENDLESS:
                await endless(it, server, thread, kind)
            else:
                server.plan = PLANS[kind]() if kind in PLANS else []
                words = f"Say something {POISON if kind == 'refused' else ''}"
                await it.say(thread, words, f"n{number}")
        server.plan = []
        for number in range(2):
            assert shown(await it.say(thread, "And now?", f"q{number}")) == "Fine."
        assert len(server.refused) <= LEARNT.get(manner, 0), server.refused


def notices(told: list[Told]) -> list[str]:
    """Texts of the notices."""
    return [event.data["text"] for event in told if event.type == "notice"]


async def test_a_refused_message_is_not_sent_again_and_can_be_tried_again(
    store: Store, tmp_path: Path
) -> None:
    async with world(store, tmp_path, "openai") as (it, server):
        thread = await it.desk.thread()
        await it.say(thread, "My name is Ada.", "m1")
        told = await it.say(thread, POISON, "m2")
        assert told[-2].data["code"] == "other"
        assert SAID in told[-2].data["detail"]
        sent = len(it.model.bodies)
        assert shown(await it.say(thread, "Who am I?", "m3")) == "Fine."
        [asked] = it.model.bodies[sent:]
        assert [m["content"] for m in asked["messages"][1:]] == [
            "My name is Ada.", "Fine.", "Who am I?",
        ]  # fmt: skip
        page = await it.services.threads.page(thread, limit=50, before=None)
        assert [m["text"] for m in page.messages if m["role"] == "user"][1] == POISON
        server.manner = "openai"
        await it.say(thread, POISON, "m4")
        it.script[0] = in_order(text("Now I take it."))
        assert shown(await it.say(thread, POISON, "m5", retry_of="m4")) == "Now I take it."


async def test_a_result_that_the_server_refuses_is_left_out(store: Store, tmp_path: Path) -> None:
    async with world(store, tmp_path, "mistral") as (it, server):
        thread = await it.desk.thread()
        server.plan = [calls(("poison", {}), ("double", {"number": 2}))]
        told = await it.say(thread, "Go")
        assert (shown(told), notices(told)) == ("Fine.", [WITHOUT_RESULTS])
        sent = len(it.model.bodies)
        assert notices(await it.say(thread, "And now?")) == []
        [asked] = it.model.bodies[sent:]
        assert [m["content"] for m in asked["messages"] if m["role"] == "tool"] == [LEFT_OUT] * 2


async def test_a_past_that_the_server_refuses_is_left_out(store: Store, tmp_path: Path) -> None:
    """As after a change of the model: what one server took and said, another one refuses."""
    async with world(store, tmp_path, "openai") as (it, server):
        thread = await it.desk.thread()
        it.script[0] = in_order(text(f"That is {POISON}."))
        await it.say(thread, "Say it")
        it.script[0] = server.reply
        told = await it.say(thread, "And now?")
        assert (shown(told), notices(told)) == ("Fine.", [WITHOUT_PAST])
        assert notices(await it.say(thread, "And then?")) == []
