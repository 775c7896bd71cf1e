"""What clocks did to checkpoints, each under the name of what broke."""

from __future__ import annotations

import time
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import id as maker

from core.store.redis import RedisClient
from graph.checkpoint.ids import go_on_after
from graph.checkpoint.saver import RedisSaver
from tests.graph.checkpoint_graphs import chat_graph, thread

HOUR_NS = 3600 * 10**9


async def said(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch, text: str, *, ahead: int
) -> Any:
    """One turn by a new process whose clock is so many hours ahead; the state that it leaves."""
    right = time.time_ns
    with monkeypatch.context() as patched:
        patched.setattr(maker, "_last_v6_timestamp", None)
        patched.setattr(time, "time_ns", lambda: right() + ahead * HOUR_NS)
        graph = chat_graph(RedisSaver(redis))
        await graph.ainvoke({"messages": [HumanMessage(text, id=text)]}, thread("t"))
    state = await chat_graph(RedisSaver(redis)).aget_state(thread("t"))
    return [message.id for message in state.values["messages"] if message.type == "human"]


async def test_a_worker_whose_clock_was_behind_forgot_what_it_had_answered(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await said(redis, monkeypatch, "m1", ahead=6) == ["m1"]
    assert await said(redis, monkeypatch, "m2", ahead=0) == ["m1", "m2"]
    assert await said(redis, monkeypatch, "m3", ahead=-6) == ["m1", "m2", "m3"]
    saver = RedisSaver(redis)
    await saver.keep_last("t", 1)
    assert [found async for found in saver.alist(thread("t"))]
    assert (await said(redis, monkeypatch, "m4", ahead=0))[-2:] == ["m3", "m4"]


def test_ids_go_on_after_the_newest_and_never_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "_last_v6_timestamp", None)
    first = maker.uuid6()
    ahead = maker.UUID(int=first.int + (60 << 80))
    go_on_after(str(ahead))
    after = str(maker.uuid6())
    assert str(first) < str(ahead) < after
    go_on_after(str(first))
    go_on_after("not one of LangGraph's")
    go_on_after("00000000-0000-4000-8000-000000000000")
    assert str(maker.uuid6()) > after
