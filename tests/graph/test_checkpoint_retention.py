"""What is kept, what is dropped, what expires."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph

from core.store import keys
from core.store.redis import RedisClient
from graph.checkpoint.saver import CheckpointUnreadable, RedisSaver
from tests.graph.checkpoint_graphs import (
    SNAPSHOT_EVERY,
    Chat,
    about,
    answer,
    chat_graph,
    checkpoint,
    note,
    thread,
    view,
)

MONTH = 30 * 24 * 3600


async def names(redis: RedisClient) -> set[str]:
    """All keys."""
    found = await redis.keys()
    return {name.decode() for name in found}


async def fields(redis: RedisClient, kind: str, ns: str = "") -> int:
    """Size of one of the thread's hashes."""
    return await redis.hlen(keys.checkpoint("t", kind, ns))


async def checkpoints(saver: RedisSaver, ns: str = "") -> list[str]:
    """Ids, newest first."""
    return [found.checkpoint["id"] async for found in saver.alist(thread("t", ns=ns))]


def plain_graph(saver: RedisSaver) -> Any:
    """A turn without questions."""
    graph = StateGraph(Chat)
    graph.add_node("answer", answer)
    graph.add_node("note", note)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", "note")
    graph.add_edge("note", END)
    return graph.compile(checkpointer=saver)


async def turn(graph: Any, number: int) -> None:
    """One message."""
    await graph.ainvoke({"messages": [HumanMessage(f"h{number}", id=f"h-{number}")]}, thread("t"))


@pytest.mark.parametrize("count", [1, 3])
async def test_kept_checkpoints_can_still_be_read(redis: RedisClient, count: int) -> None:
    saver = RedisSaver(redis)
    graph = plain_graph(saver)
    for number in range(9):
        await turn(graph, number)
        before = [view(state) async for state in graph.aget_state_history(thread("t"))]
        await saver.keep_last("t", count)
        after = [view(state) async for state in graph.aget_state_history(thread("t"))]
        assert after[:count] == before[:count]
        assert len(after) <= count + SNAPSHOT_EVERY + 2


async def test_nothing_of_dropped_checkpoints_stays(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    config = thread("t")
    for n in range(20):
        made = checkpoint({"a": [n], "b": ["same"]}, {"a": str(n), "b": "1"})
        new = {"a": str(n), "b": "1"} if n == 0 else {"a": str(n)}
        config = await saver.aput(config, made, about(n), {**new})
        await saver.aput_writes(config, [("a", [n])], "task-1")
        await saver.aput_writes(config, [("a", [n])], "task-2")
    assert await saver.keep_last("t", 4) == 16
    assert await saver.keep_last("t", 4) == 0
    assert len(await checkpoints(saver)) == 4
    assert await fields(redis, "c") == 4
    assert await fields(redis, "b") == 4 + 1
    assert await fields(redis, "w") == 4 * 3
    assert [item.checkpoint["channel_values"]["b"] async for item in saver.alist(config)] == [
        ["same"]
    ]


async def test_writes_of_checkpoints_that_never_came_are_dropped(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    lost, coming = checkpoint(), checkpoint()
    await saver.aput_writes(thread("t", checkpoint_id=lost["id"]), [("a", 1)], "task")
    for _ in range(3):
        await saver.aput(thread("t"), checkpoint(), about(), {})
    coming = checkpoint()
    await saver.aput_writes(thread("t", checkpoint_id=coming["id"]), [("a", 2)], "task")
    await saver.keep_last("t", 1)
    assert await fields(redis, "w") == 2
    config = await saver.aput(thread("t"), coming, about(), {})
    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.pending_writes == [("task", "a", 2)]


async def test_memory_is_bounded(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    graph = plain_graph(saver)
    sizes: list[int] = []
    for number in range(300):
        await turn(graph, number)
        await saver.keep_last("t", 10)
        stored = [await fields(redis, kind) for kind in "cbw"]
        sizes.append(sum(stored))
    assert max(sizes[150:]) <= max(sizes[50:150])
    assert len(await checkpoints(saver)) <= 10 + SNAPSHOT_EVERY + 2


async def test_namespaces_of_finished_tasks_go_with_their_checkpoints(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    config = thread("t")
    for n in range(6):
        config = await saver.aput(config, checkpoint(), about(n), {})
        await saver.aput(thread("t", ns=f"sub:task-{n}"), checkpoint(), about(), {})
        await saver.aput(thread("t", ns="lasting"), checkpoint(), about(), {})
    await saver.keep_last("t", 2)
    spaces = {name.decode() for name in await redis.smembers(keys.checkpoint("t", "n"))}
    assert spaces == {"", "lasting", "sub:task-4", "sub:task-5"}
    assert len(await checkpoints(saver, "lasting")) == 2
    await saver.aprune(["t"])
    assert len(await checkpoints(saver, "sub:task-4")) == 1


async def test_unknown_strategy(redis: RedisClient) -> None:
    with pytest.raises(ValueError, match="keep_latest"):
        await RedisSaver(redis).aprune(["t"], strategy="all")


async def test_a_thread_expires_as_a_whole(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    brief = saver.with_ttl(100)
    config = await brief.aput(thread("t"), checkpoint({"a": [1]}), about(), {"a": "1"})
    await brief.aput(thread("t", ns="sub:1"), checkpoint({"a": [1]}), about(), {"a": "1"})
    await brief.aput_writes(config, [("a", 1)], "task")
    stored = await names(redis)
    assert len(stored) == 1 + 4 + 3
    for name in stored:
        await redis.expire(name, 5)
    await brief.aput_writes(config, [("a", 2)], "other task")
    assert {await redis.ttl(name) for name in stored} <= {99, 100}
    for name in stored:
        await redis.expire(name, 5)
    await brief.aput(config, checkpoint(), about(), {})
    assert {await redis.ttl(name) for name in stored} <= {99, 100}
    await saver.aput(thread("u"), checkpoint({"a": [1]}), about(), {"a": "1"})
    assert await redis.ttl(keys.checkpoint("u", "c")) == -1
    await brief.acopy_thread("u", "v")
    assert await redis.ttl(keys.checkpoint("v", "b")) in (99, 100)


async def test_all_keys_of_a_thread_share_its_slot(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    await plain_graph(saver).ainvoke({"messages": [HumanMessage("x", id="x")]}, thread("t"))
    await saver.quarantine("t")
    await plain_graph(saver).ainvoke({"messages": [HumanMessage("x", id="x")]}, thread("t"))
    assert all("{t}" in name for name in await names(redis))


async def test_deleting_leaves_nothing(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    graph = chat_graph(saver)
    await turn(graph, 1)
    await saver.quarantine("t")
    await turn(graph, 1)
    await saver.aput(thread("t", ns="sub:1"), checkpoint({"a": [1]}), about(), {"a": "1"})
    lost = thread("t", ns="lost:1", checkpoint_id="never")
    await saver.aput_writes(lost, [("a", 1)], "task")
    await saver.adelete_thread("t")
    assert await names(redis) == set()


async def test_a_copy_replaces_what_was_there(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    await saver.aput(thread("u", ns="old:1"), checkpoint({"a": [0]}), about(), {"a": "1"})
    config = await saver.aput(thread("t"), checkpoint({"a": [1]}), about(), {"a": "1"})
    await saver.aput_writes(config, [("a", 1)], "task")
    await saver.acopy_thread("t", "u")
    copied = [item async for item in saver.alist({"configurable": {"thread_id": "u"}})]
    assert [item.checkpoint["channel_values"] for item in copied] == [{"a": [1]}]
    assert copied[0].pending_writes == [("task", "a", 1)]
    await saver.adelete_thread("t")
    assert len([item async for item in saver.alist(thread("u"))]) == 1


# ---- unreadable state


async def damage(redis: RedisClient, kind: str) -> None:
    """Cut every value of one of the thread's hashes short, but leave what scripts read."""
    name = keys.checkpoint("t", kind)
    for field, value in (await redis.hgetall(name)).items():
        if kind == "w" and b"\0" not in field:
            continue
        await redis.hset(name, field, value[:-1] if kind == "c" else b"\3\xc1")


@pytest.mark.parametrize("kind", ["c", "b", "w"])
async def test_a_damaged_thread_goes_on_from_an_empty_state(redis: RedisClient, kind: str) -> None:
    saver = RedisSaver(redis)
    graph = plain_graph(saver)
    for number in range(3):
        await turn(graph, number)
    await damage(redis, kind)
    with pytest.raises(CheckpointUnreadable, match="cannot be read"):
        await turn(graph, 3)
    assert await saver.quarantine("t")
    assert not await saver.quarantine("t")
    result = await graph.ainvoke({"messages": [HumanMessage("h", id="new")]}, thread("t"))
    assert [message.id for message in result["messages"]] == ["new", "a-0", "c-1"]
    aside = {name for name in await names(redis) if ":cp:q-" in name}
    assert len(aside) == 5
    for name in aside:
        assert MONTH - 10 < await redis.ttl(name) <= MONTH


async def test_a_record_that_even_scripts_cannot_read(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    graph = plain_graph(saver)
    await turn(graph, 1)
    name = keys.checkpoint("t", "c")
    for field in await redis.hkeys(name):
        await redis.hset(name, field, b"\0\0\0\x09\xc1garbage")
    for attempt in (turn(graph, 2), saver.keep_last("t", 1), checkpoints(saver)):
        with pytest.raises(CheckpointUnreadable):
            await attempt
    assert await saver.quarantine("t")
    await turn(graph, 2)


async def test_what_is_set_aside_twice_is_found_and_deleted(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    for ns in ("", "sub:1"):
        await saver.aput(thread("t", ns=ns), checkpoint({"a": [1]}), about(), {"a": "1"})
        await saver.quarantine("t")
    await saver.adelete_thread("t")
    assert await names(redis) == set()


async def test_a_run_is_deleted_in_all_threads(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    ends: list[RunnableConfig] = []
    for thread_id in ("t", "u"):
        config = thread(thread_id)
        for run in ("keep", "drop", "drop"):
            made = checkpoint({"a": [AIMessage(run)]})
            config = await saver.aput(config, made, about(run_id=run), {"a": "1"})
            await saver.aput_writes(config, [("a", 1)], "task")
        ends.append(config)
    await saver.adelete_for_runs(["drop"])
    left = [item.metadata.get("run_id") async for item in saver.alist(None)]
    assert left == ["keep", "keep"]
    assert await fields(redis, "w") == 2
