"""What the official suite leaves out of the saver's contract."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, CheckpointTuple
from langgraph.checkpoint.serde.types import (
    ERROR,
    INTERRUPT,
    RESUME,
    _DeltaSnapshot,  # pyright: ignore[reportPrivateUsage] - the stored form of a delta channel
)
from langgraph.graph import END, START, StateGraph

from core.store import keys
from core.store.redis import RedisClient
from graph.checkpoint.saver import RedisSaver
from tests.graph.checkpoint_graphs import (
    Chat,
    about,
    answer,
    chat_graph,
    checkpoint,
    thread,
)
from tests.support.counting import Counting


@pytest.fixture
def saver(redis: RedisClient) -> RedisSaver:
    return RedisSaver(redis)


async def put(saver: RedisSaver, *, parent: RunnableConfig | None = None, **values: Any) -> Any:
    """Store a checkpoint whose channels are all new; returns its config."""
    made = checkpoint(values)
    return await saver.aput(parent or thread("t"), made, about(), made["channel_versions"])


def names(config: RunnableConfig) -> dict[str, Any]:
    """What the config names."""
    return config.get("configurable", {})


async def read(saver: RedisSaver, config: Any) -> CheckpointTuple:
    """The checkpoint of a config, which must exist."""
    found = await saver.aget_tuple(config)
    assert found is not None
    return found


async def pending(saver: RedisSaver, config: Any) -> list[tuple[str, str, Any]]:
    """The writes of a checkpoint."""
    return (await read(saver, config)).pending_writes or []


# ---- writes


async def test_writes_come_in_the_order_of_path_task_and_position(saver: RedisSaver) -> None:
    config = await put(saver)
    await saver.aput_writes(config, [("a", 1), ("b", 2)], "task-1", "~2")
    await saver.aput_writes(config, [("c", 3)], "task-3", "~1")
    await saver.aput_writes(config, [("d", 4)], "task-2", "~1")
    assert await pending(saver, config) == [
        ("task-2", "d", 4),
        ("task-3", "c", 3),
        ("task-1", "a", 1),
        ("task-1", "b", 2),
    ]


async def test_the_first_write_of_a_task_stays(saver: RedisSaver) -> None:
    config = await put(saver)
    await saver.aput_writes(config, [("a", "first"), ("b", "first")], "task")
    await saver.aput_writes(config, [("a", "second"), ("b", "second"), ("c", "new")], "task")
    assert await pending(saver, config) == [
        ("task", "a", "first"),
        ("task", "b", "first"),
        ("task", "c", "new"),
    ]


@pytest.mark.parametrize("channel", [ERROR, INTERRUPT, RESUME])
async def test_the_last_special_write_counts(saver: RedisSaver, channel: str) -> None:
    config = await put(saver)
    await saver.aput_writes(config, [(channel, "old")], "task")
    await saver.aput_writes(config, [(channel, "new")], "task")
    assert await pending(saver, config) == [("task", channel, "new")]


async def test_a_repeated_call_changes_nothing(saver: RedisSaver) -> None:
    made = checkpoint({"a": [1]})
    config = thread("t", checkpoint_id=made["id"])
    for _ in range(2):
        await saver.aput(thread("t"), made, about(), made["channel_versions"])
        await saver.aput_writes(config, [("a", 1), (RESUME, "r")], "task", "~1")
    assert len([found async for found in saver.alist(thread("t"))]) == 1
    assert await pending(saver, config) == [("task", RESUME, "r"), ("task", "a", 1)]


async def test_writes_may_arrive_before_their_checkpoint(saver: RedisSaver) -> None:
    made = checkpoint()
    config = thread("t", checkpoint_id=made["id"])
    await saver.aput_writes(config, [("a", "early")], "task")
    assert await saver.aget_tuple(config) is None
    await saver.aput(thread("t"), made, about(), {})
    assert await pending(saver, config) == [("task", "a", "early")]


async def test_a_checkpoint_waits_for_the_writes_of_its_parent(redis: RedisClient) -> None:
    client = Counting(redis)
    saver = RedisSaver(client.typed)
    parent = await put(saver)
    client.answered.clear()

    async def child() -> None:
        await put(saver, parent=parent)

    writes = [saver.aput_writes(parent, [("a", n)], f"task-{n}") for n in range(40)]
    await asyncio.gather(*writes, child())
    # The scripts are told apart by how many keys they take: put_writes 3, put 5.
    assert [args[2] for args in client.answered] == [3] * 40 + [5]
    assert client.sent[-1] is client.answered[-1]


async def test_many_writes_and_many_channels(saver: RedisSaver) -> None:
    """More than Lua can unpack at once."""
    values: dict[str, Any] = {f"channel-{n}": [n] for n in range(9000)}
    config = await put(saver, **values)
    assert (await read(saver, config)).checkpoint["channel_values"] == values
    child = await put(saver, parent=config, a=1)
    for n in range(4100):
        await saver.aput_writes(child, [("a", n)], f"task-{n:05}")
    assert [write[2] for write in await pending(saver, child)] == list(range(4100))
    await put(saver, parent=child, a=2)
    await saver.aprune(["t"])
    assert await size(saver, "b") == 0
    assert await size(saver, "w") == 0


async def size(saver: RedisSaver, kind: str, ns: str = "") -> int:
    """Fields of one of the thread's hashes."""
    redis = saver._store.redis  # pyright: ignore[reportPrivateUsage]
    return await redis.hlen(keys.checkpoint("t", kind, ns))


# ---- values


VALUES: dict[str, Any] = {
    "none": None,
    "yes": True,
    "whole": 2**63,
    "negative": -(2**63),
    "part": 0.1,
    "text": "ünï\0\x1f",
    "long": "x" * 5000,
    "bytes": b"\0\xff",
    "array": bytearray(b"\1\2"),
    "empty": "",
    "list": [1, [2], {"a": None}],
    "nested": {"lc": 1, "b": b"\0"},
}


async def test_values_come_back_as_they_were(saver: RedisSaver) -> None:
    config = await put(saver, **VALUES)
    await saver.aput_writes(config, list(VALUES.items()), "task")
    found = await read(saver, config)
    assert found.checkpoint["channel_values"] == VALUES
    assert {name: value for _, name, value in found.pending_writes or []} == VALUES
    for name, value in found.checkpoint["channel_values"].items():
        assert type(value) is type(VALUES[name])


@pytest.mark.parametrize("version", ["00000001abc", 1, 2**70, 1.5, float("1e300")])
async def test_versions_of_every_type(saver: RedisSaver, version: Any) -> None:
    made = checkpoint({"a": ["x"]}, {"a": version})
    made["versions_seen"] = {"node": {"a": version}, "other": {}}
    config = await saver.aput(thread("t"), made, about(), {"a": version})
    assert (await read(saver, config)).checkpoint == made


async def test_a_new_version_without_value_is_empty(saver: RedisSaver) -> None:
    first = await put(saver, a=["x"], b="y")
    made = checkpoint({"b": "y"}, {"a": "2", "b": "1"})
    second = await saver.aput(first, made, about(), {"a": "2"})
    assert (await read(saver, second)).checkpoint["channel_values"] == {"b": "y"}


async def test_a_channel_without_value_does_not_show_an_older_one(saver: RedisSaver) -> None:
    first = await put(saver, a=["x"])
    made = checkpoint({}, {"a": "1"})
    second = await saver.aput(first, made, about(), {})
    assert (await read(saver, second)).checkpoint["channel_values"] == {}


async def test_branches_do_not_overwrite_each_other(saver: RedisSaver) -> None:
    root = await put(saver, a=["root"])
    version = (await read(saver, root)).checkpoint["channel_versions"]["a"]
    assert isinstance(version, str)
    branches: list[Any] = []
    for name in ("left", "right"):
        new: ChannelVersions = {"a": saver.get_next_version("0000000100000000", None)}
        branches.append(await saver.aput(root, checkpoint({"a": [name]}, {**new}), about(), new))
    found = [(await read(saver, config)).checkpoint["channel_values"]["a"] for config in branches]
    assert found == [["left"], ["right"]]


def test_versions_grow(saver: RedisSaver) -> None:
    version = saver.get_next_version(None, None)
    for _ in range(300):
        older, version = version, saver.get_next_version(version, None)
        assert version > older


async def test_metadata_of_the_config_is_kept(saver: RedisSaver) -> None:
    config: Any = {**thread("t"), "metadata": {"channel": "web", "thread_id": "not this"}}
    stored = await saver.aput(config, checkpoint(), about(run_id="r"), {})
    metadata: Any = (await read(saver, stored)).metadata
    assert (metadata["channel"], metadata["run_id"]) == ("web", "r")
    assert "thread_id" not in metadata


# ---- listing


async def test_listing_without_config_shows_all_threads(saver: RedisSaver) -> None:
    threads = ["a", "with}brace", "glob*?[x]", "ns:like:cp:n:"]
    for name in threads:
        await saver.aput(thread(name), checkpoint(), about(), {})
        await saver.aput(thread(name, ns="sub:1"), checkpoint(), about(), {})
    found = [names(item.config)["thread_id"] async for item in saver.alist(None)]
    assert sorted(found) == sorted(threads * 2)
    assert len([item async for item in saver.alist(None, limit=3)]) == 3


async def test_long_listings_come_in_pages(saver: RedisSaver) -> None:
    config = None
    for _ in range(45):
        config = await put(saver, parent=config)
    ids = [item.checkpoint["id"] async for item in saver.alist(thread("t"))]
    assert len(ids) == 45
    assert ids == sorted(ids, reverse=True)
    before = thread("t", checkpoint_id=ids[30])
    older = [item.checkpoint["id"] async for item in saver.alist(thread("t"), before=before)]
    assert older == ids[31:]
    one = [item.checkpoint["id"] async for item in saver.alist(thread("t", checkpoint_id=ids[7]))]
    assert one == [ids[7]]
    assert [item async for item in saver.alist(thread("t", checkpoint_id=ids[7]), limit=0)] == []


# ---- delta history


async def test_history_starts_at_a_plain_value_too(saver: RedisSaver) -> None:
    """A channel that became a delta channel later: its last plain value is where the walk ends."""
    for value in (["x", "y"], "small", None):
        config = await put(saver, log=value)
        await saver.aput_writes(config, [("log", "w1"), ("other", 0)], "task")
        made = checkpoint({}, {"log": "2"})
        child = await saver.aput(config, made, about(), {"log": "2"})
        history = await saver.aget_delta_channel_history(config=child, channels=["log", "none"])
        assert history["log"] == {"writes": [("task", "log", "w1")], "seed": value}
        assert history["none"] == {"writes": []}


async def test_each_channel_ends_at_its_own_snapshot(saver: RedisSaver) -> None:
    config = await put(saver, a=_DeltaSnapshot(["a0"]))
    for n in range(4):
        await saver.aput_writes(config, [("a", f"a{n}"), ("b", f"b{n}")], f"task-{n}")
        values = {"b": _DeltaSnapshot(["b!"])} if n == 1 else {}
        versions: ChannelVersions = {"a": str(n + 2), "b": str(n + 2)}
        config = await saver.aput(config, checkpoint(values, versions), about(), versions)
    history = await saver.aget_delta_channel_history(config=config, channels=["a", "b"])
    assert [write[2] for write in history["a"]["writes"]] == ["a0", "a1", "a2", "a3"]
    assert [write[2] for write in history["b"]["writes"]] == ["b2", "b3"]
    assert history["a"].get("seed") == _DeltaSnapshot(["a0"])
    assert history["b"].get("seed") == _DeltaSnapshot(["b!"])
    assert await saver.aget_delta_channel_history(config=config, channels=[]) == {}


# ---- the class


async def test_subgraphs_have_their_own_history(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    inner = StateGraph(Chat)
    inner.add_node("answer", answer)
    inner.add_edge(START, "answer")
    inner.add_edge("answer", END)
    outer = StateGraph(Chat)
    outer.add_node("inner", inner.compile(checkpointer=True))
    outer.add_edge(START, "inner")
    outer.add_edge("inner", END)
    graph = outer.compile(checkpointer=saver)
    for n in range(3):
        await graph.ainvoke({"messages": [HumanMessage("h", id=f"h-{n}")]}, thread("t"))
    everywhere: RunnableConfig = {"configurable": {"thread_id": "t"}}
    found = [names(item.config)["checkpoint_ns"] async for item in saver.alist(everywhere)]
    assert set(found) == {"", "inner"}
    assert len((await graph.aget_state(thread("t"))).values["messages"]) == 6


async def test_copies_share_what_is_in_flight(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    clone = copy.copy(saver).fenced(1).with_ttl(5)
    assert clone._in_flight is saver._in_flight  # pyright: ignore[reportPrivateUsage]
    assert type(clone) is RedisSaver


@pytest.mark.parametrize(
    ("method", "arity"),
    [
        ("get_tuple", 1),
        ("list", 1),
        ("put", 4),
        ("put_writes", 3),
        ("delete_thread", 1),
        ("delete_for_runs", 1),
        ("copy_thread", 2),
        ("prune", 1),
    ],
)
def test_blocking_methods_name_the_async_one(saver: RedisSaver, method: str, arity: int) -> None:
    with pytest.raises(NotImplementedError, match=rf"await saver\.a{method}"):
        getattr(saver, method)(*[None] * arity)


def test_blocking_graph_calls_say_so_too(saver: RedisSaver) -> None:
    with pytest.raises(NotImplementedError, match="ainvoke"):
        chat_graph(saver).invoke({"messages": []}, thread("t"))
