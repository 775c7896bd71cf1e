"""Results that are too long for the model: it sees the beginning, and can read on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.engine.kept import KeptResults, is_kept, result_id
from core.models.estimate import text_tokens
from core.store.client import Store
from nodes.request.offers import READ_ROUNDS
from nodes.tool_agent import SHORT, once, presented
from tests.support.studio import Reply, calls, in_order, kinds, shown, studio, text
from tools import kept_results
from tools.base import Caller, Tool, Traits, tool

LOG = "".join(f"line {number} of the log\n" for number in range(30_000))
SMALL: dict[str, Any] = {"model": {"context_window": 8192}}


def tools(done: list[str]) -> list[Tool]:
    async def fetch(size: int = len(LOG)) -> str:
        """Read the log.

        Args:
            size: How much of it.
        """
        return LOG[:size]

    async def build() -> str:
        """Build something, and tell at length."""
        done.append("built")
        return LOG

    return [tool(fetch), tool(build, Traits(effect="write", repeatable=False))]


def offered(body: dict[str, Any]) -> set[str]:
    return {tool["function"]["name"] for tool in body.get("tools", ())}


def results(body: dict[str, Any]) -> list[str]:
    return [m["content"] for m in body["messages"] if m["role"] == "tool"]


def reader(offsets: list[int]) -> Any:
    """A model that fetches the log and then reads on where it was told to."""

    def script(body: dict[str, Any]) -> Reply:
        seen = results(body)
        if not seen:
            return calls(("fetch", {}))
        if not offsets or "read_result" not in offered(body):
            return text("That is all.")
        name = seen[0].partition('result_id="')[2][:11]
        wanted = {"result_id": name, "offset": offsets.pop(0), "length": 23}
        return calls(("read_result", wanted))

    return script


async def test_the_model_reads_on_in_the_same_turn(store: Store, tmp_path: Path) -> None:
    """It may call tools once only, and had to answer from the beginning of the result."""
    at = LOG.index("line 20000")
    async with studio(
        store,
        tmp_path,
        reader([at]),
        tools=tools([]),
        toolsets=(kept_results.toolset,),
        **SMALL,
    ) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "What is in line 20000?")
        assert shown(told) == "That is all."
        first, second, third = it.model.bodies
        assert offered(first) == {"fetch", "build"}
        assert offered(second) == {"read_result"}, "the only tool that may still be called"
        [beginning] = results(second)
        assert beginning.startswith(LOG[:4000])
        assert f" of {len(LOG)} characters. Read on with read_result(" in beginning
        assert text_tokens(beginning) <= 8192 / 6 + 40
        assert results(third)[1].startswith("line 20000 of the log\n")
        assert [e.data["status"] for e in told if e.type == "tool_finished"] == ["ok", "ok"]
        # In the next turn all may be called, that one too.
        await it.say(thread, "And now?")
        assert offered(it.model.bodies[-1]) == {"fetch", "build", "read_result"}


async def test_reading_on_has_an_end(store: Store, tmp_path: Path) -> None:
    async with studio(
        store,
        tmp_path,
        reader([1] * 50),
        tools=tools([]),
        toolsets=(kept_results.toolset,),
        **SMALL,
    ) as it:
        told = await it.say(await it.desk.thread(), "Read it all.")
        assert shown(told) == "That is all."
        assert kinds(told)[-1] == "turn_finished"
        assert len(it.model.bodies) == 1 + READ_ROUNDS + 1
        assert offered(it.model.bodies[-1]) == set()


async def test_while_reading_on_nothing_else_may_be_called(store: Store, tmp_path: Path) -> None:
    done: list[str] = []
    script = in_order(calls(("fetch", {})), calls(("build", {}), words="So be it."))
    async with studio(
        store, tmp_path, script, tools=tools(done), toolsets=(kept_results.toolset,), **SMALL
    ) as it:
        told = await it.say(await it.desk.thread(), "Go on.")
        assert shown(told) == "So be it."
        assert done == []


async def test_a_short_result_costs_nothing(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("x")), tools=tools([])) as it:
        fetch = tools([])[0]
        caller = Caller("u1", "t", "t.r")
        thread = await it.desk.thread()
        await it.desk.send(thread)
        context = it.context(await it.take(thread))
        before = (await it.desk.redis.info("stats"))["total_commands_processed"]
        assert await presented(context, fetch, caller, "c", LOG[:SHORT]) == LOG[:SHORT]
        after = (await it.desk.redis.info("stats"))["total_commands_processed"]
        assert after - before == 1, "that is the second INFO"


async def test_a_result_that_may_have_to_share_its_room_is_kept_too(
    store: Store, tmp_path: Path
) -> None:
    """A round of many calls shortened results that nobody could read on in."""
    many = in_order(calls(*[("fetch", {"size": 5000})] * 8), text("Done."))
    async with studio(
        store, tmp_path, many, tools=tools([]), toolsets=(kept_results.toolset,), **SMALL
    ) as it:
        thread = await it.desk.thread()
        assert shown(await it.say(thread, "Fetch them.")) == "Done."
        brought = results(it.model.bodies[-1])
        assert len(brought) == 8
        for content in brought:
            assert "left out to fit" in content
            assert "read_result(" in content[-120:]


async def test_a_result_is_recorded_once_and_replayed_as_it_was(
    store: Store, tmp_path: Path
) -> None:
    done: list[str] = []
    async with studio(store, tmp_path, in_order(text("x")), tools=tools(done), **SMALL) as it:
        thread = await it.desk.thread()
        await it.desk.send(thread)
        turn = await it.take(thread)
        context = it.context(turn)
        call: dict[str, Any] = {"id": "call_0", "name": "build", "args": {}}
        caller = Caller("u1", thread, turn.run_id)
        build = tools(done)[1]
        first = await once(context, build, call, caller)
        again = await once(context, build, call, caller)
        assert first == again
        assert done == ["built"]
        name = result_id(turn.run_id, "call_0")
        assert is_kept(first[1], name)
        assert await KeptResults(store).read(thread, name) == LOG


@pytest.mark.parametrize("name", ["fetch", "build"])
async def test_a_result_that_cannot_be_kept_says_only_how_much_there_was(
    store: Store, tmp_path: Path, name: str
) -> None:
    async with studio(store, tmp_path, in_order(text("x")), tools=tools([]), **SMALL) as it:
        thread = await it.desk.thread()
        await it.desk.send(thread)
        turn = await it.take(thread)
        context = it.context(replace(turn, epoch=turn.epoch - 1))
        chosen = {tool.name: tool for tool in tools([])}[name]
        words = await presented(context, chosen, Caller("u1", thread, turn.run_id), "c", LOG)
        assert words.endswith("more characters)")
        assert "read_result" not in words
