"""What the chaos campaign found, each under the name of what broke."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator

import pytest
from redis.exceptions import ConnectionError

from api import cli
from core.conversations.hub import Hub
from core.errors import StoreFull, StoreUnavailable
from core.jobs import queue
from core.store import keys, listening
from core.store.client import DEADLINE, PATIENCE, Patience
from core.store.connection import SOCKET_TIMEOUT, connect
from core.store.opening import open_store
from tests.support.desk import Desk
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.waiting import wait_until


@pytest.fixture
async def way(redis_url: str) -> AsyncGenerator[FaultProxy]:
    """A proxy in front of the test server."""
    async with fault_proxy(redis_url) as proxy:
        yield proxy


async def test_a_subscription_on_a_half_open_connection_waited_for_ever(
    way: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SILENCE", 0.1)
    redis = connect(way.url, blocking=True)
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe("c")
        heard = listening.heard(pubsub)
        assert (await anext(heard))["type"] == "subscribe"
        assert (await anext(heard))["type"] == "pong"
        way.forget()
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(5):
                await anext(heard)
    await redis.aclose()


async def test_each_idle_connection_cost_a_timeout_after_they_all_had_died(way: FaultProxy) -> None:
    async with open_store(way.url) as store:
        await asyncio.gather(*(store.redis.exists("x") for _ in range(20)))
        way.forget()
        began = time.monotonic()
        for _ in range(10):
            await store.retry(lambda: store.redis.exists("x"))
        assert time.monotonic() - began < SOCKET_TIMEOUT + 1


async def test_a_refused_message_was_stored_all_the_same(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreFull):
            await desk.send(thread, "m1")
    finally:
        await desk.redis.config_set("maxmemory", "0")
    assert await desk.redis.xlen(keys.inbox(thread)) == 0
    assert not await desk.redis.hexists(keys.pending(), thread)


async def test_records_of_tool_calls_stayed_when_the_turn_had_ended(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread, "m1")
    turn = await desk.claim(thread)
    await desk.redis.hset(keys.calls(thread), "call_1", "started:x")
    await desk.finish(turn)
    assert not await desk.redis.exists(keys.calls(thread))


async def test_messages_behind_a_drained_turn_waited_for_the_sweeper(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread, "m1")
    await desk.send(thread, "m2")
    turn = await desk.claim(thread)
    await desk.redis.delete(keys.doorbell())
    await desk.finish(turn, take_next=False)
    assert await desk.redis.llen(keys.doorbell()) == 1


def test_an_outage_filled_the_log_with_tracebacks_of_the_job_runner() -> None:
    error = ConnectionError("away")
    record = logging.LogRecord(
        "docket.worker", logging.WARNING, "", 0, "no %s", ("luck",), (type(error), error, None)
    )
    assert queue.Brief().filter(record)
    assert record.exc_info is None
    assert record.getMessage() == "no luck (ConnectionError: away)"


def test_a_worker_that_finds_no_redis_counted_as_broken(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ASSISTANT_HOME", str(home))
    monkeypatch.setenv("REDIS_URL", f"unix://{home}/nobody.sock")
    assert cli.main(["worker"]) == cli.TRY_LATER


async def test_two_slow_calls_of_one_request_took_twice_the_promised_time(way: FaultProxy) -> None:
    async with open_store(way.url) as store:
        token = PATIENCE.set(Patience())
        way.mode = "blackhole"
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.retry(lambda: store.redis.exists("x"))
        assert time.monotonic() - began < DEADLINE + 1
        PATIENCE.reset(token)


async def test_readers_stayed_deaf_when_the_new_connection_was_half_open_from_the_start(
    way: FaultProxy,
) -> None:
    redis = connect(way.url, blocking=True)
    hub = Hub(redis)
    running = asyncio.create_task(hub.run())
    async with hub.subscribe("u", None) as reader:
        way.forget()
        way.mode = "blackhole"
        way.cut()
        await wait_until(lambda: way.lost > 0)
        way.forget()
        way.mode = "pass"
        async with asyncio.timeout(10):
            while await reader.get() is not None:
                pass
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await hub.aclose()
    await redis.aclose()
