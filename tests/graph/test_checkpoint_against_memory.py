"""The same random turns on LangGraph's saver in memory and on ours give the same states."""

from __future__ import annotations

import random
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from core.store.redis import RedisClient
from graph.checkpoint.saver import RedisSaver
from tests.graph.checkpoint_graphs import chat_graph, thread, view

DURABILITIES = ("sync", "async", "exit")
STEPS = 22


async def one_step(graphs: list[Any], config: Any, chance: random.Random, number: int) -> None:
    """The same step on all graphs: an answer to a question, a change from outside, or a turn."""
    durability = chance.choice(DURABILITIES)
    before = await graphs[0].aget_state(config)
    message = HumanMessage(f"h{number}", id=f"h-{number}")
    outside = chance.random() < 0.12
    for graph in graphs:
        if before.next and before.interrupts:
            await graph.ainvoke(Command(resume="yes"), config, durability=durability)
        elif outside and before.values:
            await graph.aupdate_state(config, {"messages": [message]}, as_node="note")
        else:
            await graph.ainvoke({"messages": [message]}, config, durability=durability)


@pytest.mark.parametrize("seed", range(6))
async def test_same_history(redis: RedisClient, seed: int) -> None:
    chance = random.Random(seed)
    saver = RedisSaver(redis)
    graphs = [chat_graph(InMemorySaver()), chat_graph(saver)]
    config = thread("t")
    for number in range(STEPS):
        await one_step(graphs, config, chance, number)
        expected, found = [view(await graph.aget_state(config)) for graph in graphs]
        assert found == expected
    expected_history = [view(state) async for state in graphs[0].aget_state_history(config)]
    assert [view(state) async for state in graphs[1].aget_state_history(config)] == expected_history


@pytest.mark.parametrize("seed", range(6, 12))
async def test_same_state_while_old_checkpoints_are_dropped(redis: RedisClient, seed: int) -> None:
    chance = random.Random(seed)
    saver = RedisSaver(redis)
    graphs = [chat_graph(InMemorySaver()), chat_graph(saver)]
    config = thread("t")
    for number in range(STEPS):
        await one_step(graphs, config, chance, number)
        match chance.randrange(6):
            case 0:
                await saver.aprune(["t"])
            case 1 | 2:
                await saver.keep_last("t", 3)
            case 3:
                await saver.acopy_thread("t", "copy")
                copied = await graphs[1].aget_state(thread("copy"))
                assert view(copied) == view(await graphs[1].aget_state(config))
                await saver.adelete_thread("copy")
            case _:
                pass
        expected, found = [view(await graph.aget_state(config)) for graph in graphs]
        assert found == expected


async def test_same_states_after_going_back_and_taking_another_way(redis: RedisClient) -> None:
    seen: list[Any] = []
    for graph in (chat_graph(InMemorySaver()), chat_graph(RedisSaver(redis))):
        config = thread("t")
        for number in range(3):
            await graph.ainvoke({"messages": [HumanMessage("h", id=f"h-{number}")]}, config)
        history = [state async for state in graph.aget_state_history(config)]
        for old in (history[4], history[-3]):
            await graph.ainvoke({"messages": [HumanMessage("other", id="o")]}, old.config)
        seen.append([view(state) async for state in graph.aget_state_history(config)])
    assert seen[1] == seen[0]
