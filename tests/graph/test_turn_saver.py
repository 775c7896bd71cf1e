"""What a turn's saver holds back, and that nothing of it is missing afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from core.errors import Fenced
from core.store import keys
from core.store.reads import found
from core.store.redis import RedisClient
from graph.checkpoint.saver import RedisSaver
from graph.checkpoint.select import settle
from graph.checkpoint.turn import TurnSaver
from tests.graph.checkpoint_graphs import Chat, about, answer, checkpoint, thread

EPOCH = 3


@pytest.fixture
async def saver(redis: RedisClient) -> TurnSaver:
    """Of a turn that holds its lease."""
    await redis.hset(keys.control("t"), "ep", EPOCH)
    return TurnSaver.of(RedisSaver(redis).fenced(EPOCH))


def plain_graph(saver: RedisSaver) -> CompiledStateGraph[Any, Any, Any, Any]:
    """One node, as a plain turn has."""
    graph = StateGraph(Chat)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=saver)


async def stored(redis: RedisClient) -> tuple[int, int]:
    """Checkpoints and groups of writes that Redis has."""
    index, writes = keys.checkpoint("t", "i"), keys.checkpoint("t", "w")
    return await redis.zcard(index), await redis.hlen(writes)


async def test_a_plain_turn_is_written_when_it_ends(redis: RedisClient, saver: TurnSaver) -> None:
    graph = plain_graph(saver)
    asked = {"messages": [HumanMessage("hi", id="h1")]}
    await graph.ainvoke(asked, thread("t"), durability="sync")
    assert await stored(redis) == (0, 0)
    await settle(saver)
    found = await plain_graph(RedisSaver(redis)).aget_state(thread("t"))
    assert [m.id for m in found.values["messages"]] == ["h1", "a-0"]
    assert found.next == ()


async def test_a_result_that_makes_something_run_is_written_at_once(
    redis: RedisClient, saver: TurnSaver
) -> None:
    """A tool must not run on a call that nobody remembers after a crash."""
    config = await saver.aput(thread("t"), checkpoint(), about(), {})
    for number, channel in enumerate(("branch:to:tool_agent", "__pregel_tasks")):
        await saver.aput_writes(config, [("messages", 1), (channel, None)], f"task {number}")
    assert (await stored(redis))[1] > 0
    again = await RedisSaver(redis).aget_tuple(config)
    assert again is not None
    assert again.pending_writes is not None
    assert len(again.pending_writes) == 4


async def test_what_was_held_is_written_before_what_follows(
    redis: RedisClient, saver: TurnSaver
) -> None:
    first = await saver.aput(thread("t"), checkpoint(), about(), {})
    await saver.aput_writes(first, [("messages", "held")], "one")
    await saver.aput_writes(first, [("messages", "goes on"), ("branch:to:x", None)], "two")
    again = await RedisSaver(redis).aget_tuple(first)
    assert again is not None
    assert [value for _, _, value in again.pending_writes or ()] == ["held", "goes on", None]


async def test_a_turn_that_lost_its_lease_hears_of_it_at_its_end(
    redis: RedisClient, saver: TurnSaver
) -> None:
    await plain_graph(saver).ainvoke(
        {"messages": [HumanMessage("hi", id="h1")]}, thread("t"), durability="sync"
    )
    await redis.hincrby(keys.control("t"), "ep", 1)
    with pytest.raises(Fenced):
        await settle(saver)
    assert await stored(redis) == (0, 0)


async def test_what_came_with_the_claim_is_not_read_again(redis: RedisClient) -> None:
    await plain_graph(RedisSaver(redis)).ainvoke({"messages": [HumanMessage("hi")]}, thread("t"))
    plain = RedisSaver(redis)
    read = plain.newest("t", "u")
    replies = await plain._store.several_once([read.sent])  # pyright: ignore[reportPrivateUsage]
    expected = await plain.aget_tuple(thread("t"))
    await plain.adelete_thread("t")
    saver = TurnSaver.of(plain, found([read], replies))
    assert await saver.aget_tuple(thread("t")) == expected
    assert await saver.aget_tuple(thread("t")) is None, "once only"


@pytest.mark.parametrize("first", ["another thread", "a write"])
async def test_what_came_with_the_claim_is_true_for_the_first_read_of_its_thread_only(
    redis: RedisClient, first: str
) -> None:
    plain = RedisSaver(redis)
    saver = TurnSaver.of(plain, found([plain.newest("t", "u")], [None]))
    if first == "a write":
        await saver.aput(thread("t"), checkpoint(), about(), {})
        assert await saver.aget_tuple(thread("t")) is not None
    else:
        graph = plain_graph(RedisSaver(redis))
        await graph.ainvoke({"messages": [HumanMessage("hi")]}, thread("u"))
        assert await saver.aget_tuple(thread("u")) is not None
