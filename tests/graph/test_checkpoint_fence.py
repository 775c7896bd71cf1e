"""Several workers, cancelled turns and a server that forgets scripts."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict, cast

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.types import Durability
from redis.exceptions import ConnectionError as RedisConnectionError

from core.errors import Fenced, StoreUnavailable
from core.store import keys
from core.store.connection import connect
from core.store.redis import RedisClient
from graph.checkpoint.saver import RedisSaver
from graph.checkpoint.scripts import read_scripts
from graph.checkpoint.select import for_turn
from tests.graph.checkpoint_graphs import about, chat_graph, checkpoint, thread
from tests.support.counting import Counting


def joined(old: list[str], new: list[str]) -> list[str]:
    """Reducer: append."""
    return old + new


class Log(TypedDict, total=False):
    """What ran."""

    log: Annotated[list[str], joined]


class Gate:
    """Two nodes, the second of which waits."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def first(self, state: Log) -> Log:
        return {"log": ["first"]}

    async def second(self, state: Log) -> Log:
        self.reached.set()
        await self.opened.wait()
        return {"log": ["second"]}

    def graph(self, saver: RedisSaver) -> Any:
        graph = StateGraph(Log)
        graph.add_node("first", self.first)
        graph.add_node("second", self.second)
        graph.add_edge(START, "first")
        graph.add_edge("first", "second")
        graph.add_edge("second", END)
        return graph.compile(checkpointer=saver)


async def set_epoch(redis: RedisClient, epoch: int) -> None:
    """As if a worker had taken the thread over."""
    await redis.hset(keys.control("t"), "ep", epoch)


async def test_three_at_once_only_the_newest_goes_on(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    gates: list[Gate] = []
    turns: list[asyncio.Task[Any]] = []
    for epoch in (1, 2, 3):
        await set_epoch(redis, epoch)
        gate = Gate()
        graph = gate.graph(saver.fenced(epoch))
        turn = graph.ainvoke({"log": [f"in{epoch}"]}, thread("t"), durability="sync")
        turns.append(asyncio.create_task(turn))
        gates.append(gate)
        await gate.reached.wait()
    for gate in gates:
        gate.opened.set()
    ends = await asyncio.gather(*turns, return_exceptions=True)
    assert [type(end) for end in ends] == [Fenced, Fenced, dict]
    state = await gates[0].graph(saver).aget_state(thread("t"))
    assert state.next == ()
    assert state.values["log"][-3:] == ["in3", "first", "second"]
    assert state.values["log"].count("second") == 1


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_turn_stops_when_it_is_taken_over(
    redis: RedisClient, durability: Durability
) -> None:
    await set_epoch(redis, 1)
    gate = Gate()
    graph = gate.graph(RedisSaver(redis).fenced(1))
    turn = asyncio.create_task(graph.ainvoke({"log": ["in"]}, thread("t"), durability=durability))
    await gate.reached.wait()
    await set_epoch(redis, 2)
    gate.opened.set()
    with pytest.raises(Fenced):
        await turn


async def test_each_write_checks_the_epoch(redis: RedisClient) -> None:
    await set_epoch(redis, 2)
    saver = RedisSaver(redis)
    stale, current = saver.fenced(1), saver.fenced(2)
    config = await current.aput(thread("t"), checkpoint(), about(), {})
    await current.aput_writes(config, [("a", 1)], "task")
    await saver.aput_writes(config, [("a", 2)], "unbound")
    attempts = [
        stale.aput(thread("t"), checkpoint(), about(), {}),
        stale.aput_writes(config, [("a", 3)], "stale"),
        stale.keep_last("t", 1),
        stale.aprune(["t"]),
        stale.quarantine("t"),
        stale.acopy_thread("t", "t"),
    ]
    for attempt in attempts:
        with pytest.raises(Fenced):
            await attempt
    found = await stale.aget_tuple(thread("t"))
    assert found is not None
    assert [write[0] for write in found.pending_writes or []] == ["task", "unbound"]


async def test_a_deleted_thread_takes_no_writes_of_its_turn(redis: RedisClient) -> None:
    """They brought back what had just been erased, and nothing would ever erase it again."""
    saver = RedisSaver(redis)
    with pytest.raises(Fenced):
        await saver.fenced(5).aput(thread("t"), checkpoint(), about(), {})
    config = await saver.aput(thread("t"), checkpoint(), about(), {})
    with pytest.raises(Fenced):
        await saver.fenced(5).aput_writes(config, [("a", 1)], "task")


async def test_a_cancelled_turn_goes_on_where_it_was(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    gate = Gate()
    graph = gate.graph(saver)
    turn = asyncio.create_task(graph.ainvoke({"log": ["in"]}, thread("t"), durability="sync"))
    await gate.reached.wait()
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert (await graph.aget_state(thread("t"))).next == ("second",)
    gate.opened.set()
    assert await graph.ainvoke(None, thread("t")) == {"log": ["in", "first", "second"]}


async def test_scripts_are_sent_again_when_the_server_forgot_them(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    for _ in range(2):
        await redis.script_flush()
        config = await saver.aput(thread("t"), checkpoint(), about(), {})
        await redis.script_flush()
        await saver.aput_writes(config, [("a", 1)], "task")
        await redis.script_flush()
        assert await saver.aget_tuple(config) is not None


class LosingReplies(Counting):
    """A client that loses the reply to every call of its own that is not a repetition."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        repeated = args in self.sent
        answer = cast("object", await super().execute_command(*args, **options))
        if not repeated:
            raise RedisConnectionError("Connection closed by server.")
        return answer


async def test_a_lost_reply_is_asked_for_again_and_changes_nothing(redis: RedisClient) -> None:
    client = LosingReplies(redis)
    saver = RedisSaver(client.typed)
    config = await saver.aput(thread("t"), checkpoint({"a": [1]}), about(), {"a": "1"})
    await saver.aput_writes(config, [("a", 1), ("b", [2])], "task")
    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.pending_writes == [("task", "a", 1), ("task", "b", [2])]
    assert len([item async for item in saver.alist(config)]) == 1
    await saver.acopy_thread("t", "u")
    assert await saver.aget_tuple(thread("u")) is not None
    await saver.keep_last("t", 1)
    await saver.quarantine("t")
    assert await saver.aget_tuple(thread("t")) is None


async def test_a_server_that_stays_away_is_named(redis: RedisClient) -> None:
    saver = RedisSaver(connect("redis://127.0.0.1:1"))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await saver.aget_tuple(thread("t"))


async def test_round_trips(redis: RedisClient) -> None:
    """One each to read, to put and to put writes; the delta history comes along with the read."""
    client = Counting(redis)
    saver = RedisSaver(client.typed)
    graph = chat_graph(saver)
    await graph.ainvoke({"messages": [HumanMessage("1", id="1")]}, thread("t"))
    await saver.keep_last("t", 10)
    before = client.trips
    await graph.aget_state(thread("t"))
    assert client.trips - before == 1
    before = client.trips
    await saver.keep_last("t", 10)
    assert client.trips - before == 1
    config = await saver.aput(thread("x"), checkpoint({"a": [1], "b": 2}), about(), {"a": "1"})
    before = client.trips
    await saver.aput(config, checkpoint({"a": [1], "b": 2}), about(), {"a": "1"})
    await saver.aput_writes(config, [("a", 1), ("b", "x")], "task")
    assert client.trips - before == 2


async def test_asked_later_or_for_more_the_history_is_read_again(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    graph = chat_graph(saver)
    await graph.ainvoke({"messages": [HumanMessage("1", id="1")]}, thread("t"))
    found = await saver.aget_tuple(thread("t"))
    assert found is not None
    first = await saver.aget_delta_channel_history(config=found.config, channels=["messages"])
    again = await saver.aget_delta_channel_history(config=found.config, channels=["messages"])
    await saver.aget_tuple(thread("t"))
    more = await saver.aget_delta_channel_history(config=found.config, channels=["messages", "x"])
    assert len(first["messages"]["writes"]) == 4
    assert first == again
    assert more == {**first, "x": {"writes": []}}


class Overtaken(Counting):
    """A client whose conversation is taken over when it has to send a whole script."""

    other: RedisClient

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] == "EVAL":
            await set_epoch(self.other, 2)
        return cast("object", await super().execute_command(*args, **options))


async def test_a_server_that_knew_one_script_of_two_kept_a_turn_without_its_message(
    redis: RedisClient,
) -> None:
    client = Overtaken(redis)
    client.other = redis
    known = read_scripts()
    await redis.script_flush()
    for name in ("get", "put"):
        await redis.script_load(known[name].body)
    await set_epoch(redis, 1)
    graph = chat_graph(for_turn(RedisSaver(client.typed), epoch=1, ttl=None))
    with pytest.raises(Fenced):
        await graph.ainvoke({"messages": [HumanMessage("m1", id="m1")]}, thread("t"))
    assert await RedisSaver(redis).aget_tuple(thread("t")) is None
