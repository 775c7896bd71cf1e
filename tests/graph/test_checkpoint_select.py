"""Choosing the saver."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from core.errors import ConfigError, Fenced
from core.settings.groups import Settings, StoreSettings
from core.store import keys
from core.store.redis import RedisClient
from graph.checkpoint.saver import RedisSaver
from graph.checkpoint.select import check_modules, for_turn, open_saver, set_aside, trim
from tests.graph.checkpoint_graphs import about, checkpoint, thread


def chosen(home: Path, checkpointer: Literal["core", "redis-stack"]) -> Settings:
    return Settings(home=home, store=StoreSettings.model_validate({"checkpointer": checkpointer}))


async def recorded(redis: RedisClient) -> Any:
    return await redis.hget(keys.installation(), "checkpointer")


async def test_core_is_recorded_and_opens_again(redis: RedisClient, tmp_path: Path) -> None:
    for _ in range(2):
        assert isinstance(await open_saver(redis, chosen(tmp_path, "core")), RedisSaver)
        assert await recorded(redis) == b"core"


@pytest.mark.parametrize(("first", "then"), [("core", "redis-stack"), ("redis-stack", "core")])
async def test_another_choice_is_refused(
    redis: RedisClient, tmp_path: Path, first: str, then: Literal["core", "redis-stack"]
) -> None:
    await redis.hset(keys.installation(), "checkpointer", first)
    with pytest.raises(ConfigError, match=f"= {first}, and {then} could not .* back to {first}"):
        await open_saver(redis, chosen(tmp_path, then))
    assert await recorded(redis) == first.encode()


async def test_a_missing_package_names_the_command(redis: RedisClient, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'modular-assistant\[redis-stack\]'"):
        await open_saver(redis, chosen(tmp_path, "redis-stack"))
    assert await recorded(redis) is None


async def test_a_server_without_modules_is_refused(redis: RedisClient) -> None:
    with pytest.raises(ConfigError, match="needs RediSearch"):
        await check_modules(redis)


async def test_a_turn_is_fenced_trimmed_and_expires(redis: RedisClient) -> None:
    await redis.hset(keys.control("t"), "ep", 7)
    saver = RedisSaver(redis)
    turn = for_turn(saver, epoch=7, ttl=60)
    config = thread("t")
    for _ in range(5):
        config = await turn.aput(config, checkpoint(), about(), {})
    await trim(turn, "t", count=2)
    assert len([found async for found in saver.alist(thread("t"))]) == 2
    assert 0 < await redis.ttl(keys.checkpoint("t", "c")) <= 60
    with pytest.raises(Fenced):
        await for_turn(saver, epoch=6, ttl=None).aput_writes(config, [("branch:to:a", 1)], "task")
    await set_aside(turn, "t")
    assert await saver.aget_tuple(thread("t")) is None


async def test_other_savers_just_work() -> None:
    saver = InMemorySaver()
    assert for_turn(saver, epoch=1, ttl=1) is saver
    await saver.aput(thread("t"), checkpoint(), about(), {})
    await trim(saver, "t", count=1)
    await set_aside(saver, "t")
    assert await saver.aget_tuple(thread("t")) is None
