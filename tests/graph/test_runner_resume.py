"""Turns that are cut off at any moment and go on in another worker; long conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from core.engine.kept import KeptResults, result_id
from core.engine.mailbox import Turn
from core.store import keys
from core.store.client import Store
from core.store.opening import open_store
from graph.checkpoint.saver import RedisSaver
from tests.support.desk import USER
from tests.support.fault_proxy import FaultProxy, Fuse, fault_proxy
from tests.support.studio import (
    Reply,
    Studio,
    Told,
    calls,
    died,
    in_order,
    pieces,
    shown,
    stuck,
    studio,
    text,
)
from tests.support.waiting import wait_until
from tools.base import Tool, Traits, tool


def counting(done: list[str]) -> list[Tool]:
    """A tool that only reads, and one whose effects are counted."""

    async def double(number: int) -> str:
        """Double a number.

        Args:
            number: Any.
        """
        return str(2 * number)

    async def post(letter: str) -> str:
        """Post a letter.

        Args:
            letter: Its text.
        """
        done.append(letter)
        return f"posted {letter}"

    return [tool(double), tool(post, Traits(effect="write", repeatable=False))]


def by_content(body: dict[str, Any]) -> Reply:
    """A model that says the same to the same conversation, as temperature 0 does."""
    results = [m for m in body["messages"] if m["role"] == "tool"]
    if not results:
        return calls(("double", {"number": 4}), ("post", {"letter": "A"}), words="Working.")
    return text(f"Results: {', '.join(m['content'] for m in results)}.")


@dataclass
class Cut:
    """A turn that was cut off and went on in another worker."""

    told: list[Told]
    thread: str
    happened: bool


async def cut_and_resumed(it: Studio, proxy: FaultProxy, at: int, *, after: bool) -> Cut:
    """Cut worker A off at one of its requests to Redis, before or after it, and go on in B."""
    thread = await it.desk.thread()
    run = (await it.desk.send(thread)).run_id
    turn = await it.take(thread, "A")
    async with open_store(proxy.url) as store:
        saver = RedisSaver(store.redis)
        dying = it.turns("A", saver, store)
        worker = asyncio.create_task(dying.take(turn))
        fuse = proxy.fuse = Fuse(at, after=after, then=worker.cancel)
        blown = asyncio.create_task(fuse.blown.wait())
        await asyncio.wait([worker, blown], return_when=asyncio.FIRST_COMPLETED)
        blown.cancel()
        if happened := fuse.blown.is_set():
            await died(it, thread)
            following = await it.desk.mailbox("B").claim(thread, it.live.current.engine)
            if isinstance(following, Turn):
                await it.turns("B").take(following)
        proxy.fuse, proxy.mode = None, "pass"
        await asyncio.gather(worker, return_exceptions=True)
        # LangGraph lets go of writes that are on their way when it is cancelled.
        await wait_until(lambda: not saver._in_flight, timeout=10)  # pyright: ignore[reportPrivateUsage] - it has no other sign
    return Cut(await it.told(thread, run), thread, happened)


@pytest.mark.parametrize("after", [False, True])
async def test_cut_off_at_any_request_the_resumed_turn_ends_with_the_same_text(
    store: Store, redis_url: str, tmp_path: Path, after: bool
) -> None:
    done: list[str] = []
    async with (
        fault_proxy(redis_url) as proxy,
        studio(store, tmp_path, by_content, tools=counting(done)) as it,
    ):
        at = 1
        while (cut := await cut_and_resumed(it, proxy, at, after=after)).happened:
            effect = "Outcome unknown" if unknown(cut.told) else "posted A"
            assert shown(cut.told).startswith(f"Working.\n\nResults: 8, {effect}"), at
            assert len(done) <= 1, "a side effect was repeated"
            assert cut.told[-1] == Told("turn_finished", {"status": "completed"})
            assert [event.type for event in cut.told].count("turn_finished") == 1
            record = await it.last(cut.thread)
            tools = {tool["name"]: tool["status"] for tool in record["tools"]}
            assert tools == {"double": "ok", "post": "unknown" if unknown(cut.told) else "ok"}
            roles = [entry["role"] for entry in await it.desk.transcript(cut.thread)]
            assert roles == ["user", "assistant"]
            done.clear()
            at += 1
        assert shown(cut.told) == "Working.\n\nResults: 8, posted A."
        assert at > 6, "a turn with tools talks to Redis more often than that"


async def test_cut_off_at_any_request_a_long_result_has_the_same_name(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    async def post(letter: str) -> str:
        """Post a letter.

        Args:
            letter: Its text.
        """
        return f"posted {letter} " * 9000

    tools = [*counting([])[:1], tool(post, Traits(effect="write", repeatable=False))]
    async with (
        fault_proxy(redis_url) as proxy,
        studio(store, tmp_path, by_content, tools=tools) as it,
    ):
        at = 1
        while (cut := await cut_and_resumed(it, proxy, at, after=bool(at % 2))).happened:
            assert cut.told[-1] == Told("turn_finished", {"status": "completed"}), at
            name = result_id((await it.desk.entries(cut.thread))[-1].run_id, "call_1")
            if not unknown(cut.told):
                assert f'read_result(result_id="{name}"' in shown(cut.told), at
                text = await KeptResults(store).read(cut.thread, name)
                assert text == "posted A " * 9000
            at += 1
        assert at > 6


def unknown(told: Sequence[Told]) -> bool:
    return any(e.data.get("status") == "unknown" for e in told if e.type == "tool_finished")


async def test_cut_off_in_a_tool_its_effect_is_not_repeated(store: Store, tmp_path: Path) -> None:
    done: list[str] = []
    reached = asyncio.Event()

    async def post(letter: str) -> str:
        """Post a letter.

        Args:
            letter: Its text.
        """
        done.append(letter)
        reached.set()
        await asyncio.Event().wait()
        return ""

    script = in_order(calls(("post", {"letter": "A"})), text("I do not know."))
    tools = [tool(post, Traits(effect="write", repeatable=False))]
    async with studio(store, tmp_path, script, tools=tools) as it:
        thread = await it.desk.thread()
        run = (await it.desk.send(thread)).run_id
        dying = asyncio.create_task(it.turns("A").take(await it.take(thread, "A")))
        await reached.wait()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        await died(it, thread)
        await it.turns("B").take(await it.take(thread, "B"))
        told = await it.told(thread, run)
        assert done == ["A"]
        assert unknown(told)
        assert shown(told) == "I do not know."


async def test_a_finished_answer_is_not_asked_for_again(store: Store, tmp_path: Path) -> None:
    """The worker died between the last checkpoint and the end of the turn."""
    async with studio(store, tmp_path, in_order(text("Once."), text("Twice."))) as it:
        thread = await it.desk.thread()
        run = (await it.desk.send(thread)).run_id
        turns = it.turns("A")
        turn: Turn = await it.take(thread, "A")
        await turns._run(turn)  # pyright: ignore[reportPrivateUsage] - all but the end, as a crash leaves it
        await died(it, thread)
        await it.turns("B").take(await it.take(thread, "B"))
        told = await it.told(thread, run)
        assert shown(told) == "Once."
        assert len(it.model.bodies) == 1
        record = await it.last(thread)
        assert (record["text"], record["model"]) == ("Once.", "m")
        assert record["usage"]["prompt_tokens"] == 11


async def test_a_turn_waits_for_redis(store: Store, redis_url: str, tmp_path: Path) -> None:
    """It failed, though nothing was wrong with it."""
    done: list[str] = []
    async with (
        fault_proxy(redis_url) as proxy,
        open_store(proxy.url) as away,
        studio(store, tmp_path, by_content, tools=counting(done)) as it,
    ):
        thread = await it.desk.thread()
        run = (await it.desk.send(thread)).run_id
        turns = it.turns("A", RedisSaver(away.redis))
        proxy.mode = "reset"
        working = asyncio.create_task(turns.take(await it.take(thread, "A")))
        await asyncio.wait([working], timeout=3.5)
        proxy.mode = "pass"
        await asyncio.wait_for(working, 5)
        if (following := await it.desk.mailbox("B").claim(thread, it.desk.settings)) is not None:
            assert isinstance(following, Turn)
            await it.turns("B").take(following)
        assert shown(await it.told(thread, run)) == "Working.\n\nResults: 8, posted A."
        assert done == ["A"]


async def test_an_unreadable_checkpoint_is_set_aside(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("One."), text("Two."), text("Three."))) as it:
        thread = await it.desk.thread()
        await it.say(thread, "first")
        index = keys.checkpoint(thread, "c")
        for field in await it.desk.redis.hkeys(index):
            await it.desk.redis.hset(index, field, b"\x00\x00\x00\x01garbage")
        told = await it.say(thread, "second")
        assert shown(told) == "Two."
        assert any(e.type == "notice" and e.data["level"] == "warning" for e in told)
        assert shown(await it.say(thread, "third")) == "Three."
        assert [m.text for m in await it.state(thread)] == ["second", "Two.", "third", "Three."]


async def test_thinking_without_an_opening_tag_keeps_the_tools(
    store: Store, tmp_path: Path
) -> None:
    """What was shown as text was thinking: the reset took the tools from the record."""
    script = in_order(
        calls(("double", {"number": 4}), words="First."),
        pieces("I ponder", "\n</think>\n", "It is 8."),
    )
    async with studio(store, tmp_path, script, tools=counting([])) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Hi")
        assert shown(told) == "First.\n\nIt is 8."
        record = await it.last(thread)
        assert [tool["status"] for tool in record["tools"]] == ["ok"]
        assert record["reasoning"].strip() == "I ponder"


async def test_a_long_conversation_costs_the_same_at_its_end(store: Store, tmp_path: Path) -> None:
    def script(body: dict[str, Any]) -> Reply:
        if "keep the summary" in body["messages"][0]["content"]:
            return text("They talked.")
        return text("An answer of some words.")

    groups: dict[str, Any] = {
        "memory": {"short_term_window": 8},
        "orchestrator": {"checkpoints_kept": 5},
    }
    async with studio(store, tmp_path, script, **groups) as it:
        thread = await it.desk.thread()
        turns = it.turns()
        sizes: list[int] = []
        for number in range(120):
            await it.desk.send(thread, f"m{number}", f"message {number}")
            await turns.take(await it.take(thread))
            sizes.append(await held(it, thread))
        assert len(await it.state(thread)) <= 8 + 4 + 2
        assert await it.summary(thread) == "They talked."
        # It rises and falls with snapshots and prunings, and does not grow.
        assert max(sizes[80:]) <= 1.1 * max(sizes[40:80])
        assert max(len(body["messages"]) for body in it.model.bodies) <= 10
        assert await it.checkpoints(thread) < 80
        page = await it.services.threads.page(thread, limit=500, before=None)
        assert len(page.messages) == 240


async def held(it: Studio, thread: str) -> int:
    """Bytes of all checkpoint keys of the thread."""
    names = [name for name in await it.desk.redis.keys(f"*{thread}*") if b":cp:" in name]
    return sum([await it.desk.redis.memory_usage(name, samples=0) for name in names])


async def test_a_summary_that_fails_is_tried_again_and_never_blocks(
    store: Store, tmp_path: Path
) -> None:
    asked = 0

    def script(body: dict[str, Any]) -> Reply:
        nonlocal asked
        if "keep the summary" in body["messages"][0]["content"]:
            asked += 1
            return text(" ") if asked < 3 else text("At last.")
        return text("Fine.")

    async with studio(store, tmp_path, script, memory={"short_term_window": 4}) as it:
        thread = await it.desk.thread()
        for number in range(8):
            told = await it.say(thread, f"message {number}", f"m{number}")
            assert told[-1].data == {"status": "completed"}
        assert await it.summary(thread) == "At last."
        assert asked >= 3


async def test_deleted_while_it_ran_nothing_comes_back(store: Store, tmp_path: Path) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        """Wait."""
        reached.set()
        await gate.wait()
        return "waited"

    script = in_order(calls(("wait", {})), text("Done."))
    async with studio(store, tmp_path, script, tools=[tool(wait)]) as it:
        thread = await it.desk.thread()
        await it.desk.send(thread)
        working = asyncio.create_task(it.turns().take(await it.take(thread)))
        await reached.wait()
        await it.services.threads.delete(USER, thread)
        await it.saver.adelete_thread(thread)
        gate.set()
        assert await asyncio.wait_for(working, 5) is None
        await it.services.gateway.settle()
        left = [n for n in await it.desk.redis.keys(f"*{thread}*")]
        assert [n for n in left if await it.desk.redis.ttl(n) < 0] == []


@pytest.mark.parametrize("at", range(1, 6))
async def test_a_turn_whose_first_writes_arrived_in_part_ended_without_an_answer(
    store: Store, redis_url: str, tmp_path: Path, at: int
) -> None:
    gate = asyncio.Event()
    async with (
        fault_proxy(redis_url) as proxy,
        studio(store, tmp_path, in_order(stuck("Begin", gate), text("The answer."))) as it,
        open_store(proxy.url) as cut_off,
    ):
        thread = await it.desk.thread()
        run = (await it.desk.send(thread)).run_id
        turn = await it.take(thread, "A")
        dying = it.turns("A", RedisSaver(cut_off.redis), cut_off)
        worker = asyncio.create_task(dying.take(turn))

        async def begun() -> bool:
            return any(event.type == "text_delta" for event in await it.told(thread, run))

        await wait_until(begun)
        fuse = proxy.fuse = Fuse(at, after=True, then=lambda: None)
        dying.hand_over()
        blown = asyncio.create_task(fuse.blown.wait())
        await asyncio.wait([worker, blown], return_when=asyncio.FIRST_COMPLETED)
        worker.cancel()
        blown.cancel()
        await died(it, thread)
        gate.set()
        await it.turns("B").take(await it.take(thread, "B"))
        proxy.fuse, proxy.mode = None, "pass"
        await asyncio.gather(worker, return_exceptions=True)
        assert (await it.last(thread))["text"] == "The answer."
        assert shown(await it.told(thread, run)) == "The answer."


async def test_a_turn_whose_state_had_neither_answer_nor_next_step_ended_without_a_word(
    store: Store, tmp_path: Path
) -> None:
    async with studio(store, tmp_path, in_order(text("One."), text("Two."))) as it:
        thread = await it.desk.thread()
        await it.say(thread, "first", "m1")
        accepted = await it.desk.send(thread, "m2", "second")
        await it.take(thread, "A")
        # What is left when only part of the turn's first writes has arrived.
        begun = {"message_id": "m2", "run_id": accepted.run_id, "user_id": USER}
        config: RunnableConfig = {"configurable": {"thread_id": thread}}
        await it.graph.aupdate_state(config, {"turn": begun}, as_node="remember")
        await died(it, thread)
        await it.turns("B").take(await it.take(thread, "B"))
        assert (await it.last(thread))["text"] == "Two."
