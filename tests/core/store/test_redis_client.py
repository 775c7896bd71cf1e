"""Our types of the Redis client against redis-py and a real server."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import core.store.redis as types
from core.store.redis import Pipeline, PubSub, RedisClient
from tests.style import tree


def commands(protocol: type) -> dict[str, Any]:
    """What a Protocol asks for, by name."""
    return {
        name: value
        for name, value in vars(protocol).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    }


def named(function: Callable[..., Any]) -> set[str]:
    """Parameters that a caller may name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters.values()
    return {one.name for one in parameters if one.kind in kinds and one.name != "self"}


@pytest.mark.parametrize("protocol", [RedisClient, Pipeline, PubSub])
async def test_the_real_ones_have_all_that_our_types_promise(
    redis: RedisClient, protocol: type
) -> None:
    async with redis.pipeline() as pipe, redis.pubsub() as pubsub:
        real = {RedisClient: redis, Pipeline: pipe, PubSub: pubsub}[protocol]
        for name, ours in commands(protocol).items():
            theirs = getattr(real, name)
            if callable(theirs) and not _takes_any(theirs):
                assert named(ours) <= named(theirs), name
        assert redis.connection_pool is not None


def _takes_any(function: Callable[..., Any]) -> bool:
    return any(
        one.kind is inspect.Parameter.VAR_KEYWORD
        for one in inspect.signature(function).parameters.values()
    )


@pytest.mark.parametrize("protocol", [RedisClient, Pipeline, PubSub])
def test_our_types_promise_only_what_is_used(protocol: type) -> None:
    called = {
        node.attr
        for path in tree.ending(".py")
        if path != Path(inspect.getfile(types))
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Attribute)
    }
    assert commands(protocol).keys() - called == set()


async def test_replies_have_the_types_that_ours_promise(redis: RedisClient) -> None:
    assert await redis.set("s", 1, nx=True, ex=9) is True
    assert await redis.set("s", 1, nx=True, ex=9) is None
    assert (await redis.get("s"), await redis.get("none")) == (b"1", None)
    assert await redis.expire("s", 5) is True
    assert await redis.hset("h", mapping={"a": 1, "b": "2"}) == 2
    assert await redis.hgetall("h") == {b"a": b"1", b"b": b"2"}
    assert await redis.hmget("h", "a", "c") == [b"1", None]
    assert await redis.hscan("h", count=5) == (0, {b"a": b"1", b"b": b"2"})
    assert (await redis.hexists("h", "a"), await redis.hsetnx("h", "a", 3)) == (True, 0)
    assert await redis.sadd("m", "a") == 1
    assert await redis.smembers("m") == {b"a"}
    assert await redis.rpush("l", "a", b"b") == 2
    assert await redis.blpop(["l"], 1) == (b"l", b"a")
    assert await redis.lrange("l", 0, -1) == [b"b"]
    assert await redis.zadd("z", {"a": 1, "b": 2.5}) == 2
    assert await redis.zrange("z", 0, -1) == [b"a", b"b"]
    assert await redis.zrange("z", 0, -1, withscores=True) == [(b"a", 1.0), (b"b", 2.5)]
    assert await redis.zrangebyscore("z", 2, "+inf") == [b"b"]
    newest = await redis.zrevrangebyscore("z", "+inf", "-inf", start=0, num=1, withscores=True)
    assert newest == [(b"b", 2.5)]
    assert await redis.zscore("z", "b") == 2.5
    assert await redis.xadd("x", {"f": 1}, "1-1") == b"1-1"
    assert await redis.xrange("x") == await redis.xrevrange("x") == [(b"1-1", {b"f": b"1"})]
    assert (await redis.type("x"), await redis.type("none")) == (b"stream", b"none")
    assert sorted((await redis.scan(match="[hs]", count=100))[1]) == [b"h", b"s"]
    assert await redis.pubsub_numsub("c") == [(b"c", 0)]
    assert await redis.config_get("maxmemory") == {"maxmemory": "0"}
    assert [type(part) for part in await redis.time()] == [int, int]
    assert isinstance((await redis.info("memory"))["used_memory"], int)


async def test_a_watching_pipeline_answers_at_once(redis: RedisClient) -> None:
    await redis.xadd("x", {"f": 1}, "1-1")
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch("s", "x")
        assert await pipe.get("s") is None
        assert await pipe.xrange("x") == [(b"1-1", {b"f": b"1"})]
        pipe.multi()
        pipe.set("s", 1, px=9000)
        pipe.incr("s")
        assert await pipe.execute() == [True, 2]


async def test_a_subscription_tells_bytes(redis: RedisClient) -> None:
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe("c")
        assert pubsub.subscribed is True
        confirmed = await pubsub.get_message(timeout=5)
        assert confirmed is not None
        assert (confirmed["type"], confirmed["channel"]) == ("subscribe", b"c")
        assert await redis.publish("c", "hello") == 1
        told = await pubsub.get_message(timeout=5)
        assert told is not None
        assert (told["type"], told["data"]) == ("message", b"hello")
        assert await pubsub.get_message(timeout=0.01) is None
