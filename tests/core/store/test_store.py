"""The retry rule, what errors become, and which servers are refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from core.errors import ConfigError, Fenced, StoreError, StoreFull, StoreTooOld, StoreUnavailable
from core.home.embedded import EmbeddedServer, start_server
from core.settings.groups import StoreSettings
from core.store import keys, scripts
from core.store.client import Store
from core.store.connection import connect
from core.store.opening import open_store
from tests.support.canned_redis import bulk, canned_redis, error
from tests.support.desk import Desk, stale_emit
from tests.support.fault_proxy import FaultProxy
from tests.support.servers import server_command
from tests.support.waiting import wait_until


@pytest.fixture
async def own(tmp_path: Path) -> AsyncGenerator[EmbeddedServer]:
    """A server of the test's own, to be spoiled."""
    server = await start_server(tmp_path, StoreSettings(), command=server_command())
    yield server
    await server.stop()


@pytest.mark.parametrize("fault", ["cut_replies", "drop_replies"])
async def test_a_write_whose_replies_are_lost_is_applied_once(
    desk: Desk, proxy: FaultProxy, fault: Any
) -> None:
    """redis-py's own ten retries applied one write eleven times."""
    async with open_store(proxy.url) as store:
        proxy.mode = fault
        with pytest.raises(RedisError):
            await store.redis.incr("plain")
        assert proxy.lost
    assert await desk.redis.get("plain") == b"1", "it arrived, and the client did not repeat it"


@pytest.mark.parametrize("fault", ["blackhole", "reset", "drop_replies", "cut_replies"])
async def test_every_call_answers_within_three_seconds(
    proxy: FaultProxy, fault: Any, store: Store
) -> None:
    assert store is not None
    async with open_store(proxy.url) as away:
        proxy.mode = fault
        began = time.monotonic()
        call = scripts.settle(pending=keys.pending(), thread="t", message="m")
        with pytest.raises(StoreUnavailable):
            await away.script(call)
        assert time.monotonic() - began <= 3
        proxy.mode = "pass"
        assert await away.script(call) == 0


async def test_a_call_succeeds_as_soon_as_redis_is_back(proxy: FaultProxy, store: Store) -> None:
    assert store is not None
    async with open_store(proxy.url) as away:
        proxy.mode = "reset"
        asking = asyncio.create_task(away.retry(lambda: away.redis.ping()))
        await asyncio.wait([asking], timeout=0.5)
        assert not asking.done()
        proxy.mode = "pass"
        assert await asyncio.wait_for(asking, 1)


async def test_slow_and_dripping_connections_work(proxy: FaultProxy, store: Store) -> None:
    assert store is not None
    async with open_store(proxy.url) as away:
        proxy.latency = 0.05
        assert await away.retry(lambda: away.redis.ping())
        proxy.latency, proxy.mode = 0.0, "drip"
        await away.redis.set("big", b"x" * 5000, ex=5)
        assert await away.retry(lambda: away.redis.get("big")) == b"x" * 5000


async def test_answers_are_never_mixed_up_after_a_cancelled_call(
    proxy: FaultProxy, store: Store
) -> None:
    async with open_store(proxy.url) as away:
        for number in range(20):
            await store.redis.set(f"k{number}", number, ex=60)
        proxy.latency = 0.02
        for number in range(20):
            asking: asyncio.Task[Any] = asyncio.ensure_future(away.redis.get("k0"))
            await asyncio.wait([asking], timeout=0.005 * (number % 9))
            asking.cancel()
            assert await away.redis.get(f"k{number}") == str(number).encode()


async def test_a_cancelled_call_is_cancelled(store: Store) -> None:
    """redis-py sent through asyncio.wait_for, which now and then swallows it on Python 3.11."""

    async def ask_for_ever() -> None:
        while True:
            await store.retry(lambda: store.redis.ping())

    for number in range(100):
        task = asyncio.create_task(ask_for_ever())
        for _ in range(number % 13):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert task.cancelled()


async def test_out_of_memory(own: EmbeddedServer) -> None:
    async with open_store(own.url) as store:
        await store.redis.config_set("maxmemory", 1)
        with pytest.raises(StoreFull, match="out of memory"):
            await Desk(store).thread()
        await store.redis.config_set("maxmemory", 0)
        await Desk(store).thread()


async def test_a_read_only_replica(own: EmbeddedServer) -> None:
    async with open_store(own.url) as store:
        redis = store.redis
        await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(StoreFull, match="point REDIS_URL to the primary"):
            await Desk(store).thread()


async def test_a_wrong_password(own: EmbeddedServer) -> None:
    redis = connect(own.url)
    await redis.config_set("requirepass", "right")
    await redis.aclose()
    began = time.monotonic()
    for url in (own.url, own.url.replace("unix://", "unix://:wrong@")):
        with pytest.raises(StoreError, match="correct it in REDIS_URL"):
            async with open_store(url):
                pass
    assert time.monotonic() - began < 2, "no use in trying again"
    async with open_store(own.url.replace("unix://", "unix://:right@")):
        pass


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", StoreFull, "its disk"),
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreFull, "out of memory"),
        ("READONLY You can't write against a read only replica.", StoreFull, "primary"),
        ("ERR user_script:1: FENCED script: x", Fenced, "taken this conversation over"),
        ("NOAUTH Authentication required.", StoreError, "password"),
        ("LOADING Redis is loading the dataset in memory", StoreUnavailable, "does not answer"),
        ("ERR something else", StoreError, "something else"),
    ],
)
async def test_what_errors_become(said: str, kind: type[Exception], words: str) -> None:
    async with canned_redis(lambda _: error(said)) as url:
        redis = connect(url)
        store = Store(redis, {})
        with pytest.raises(kind, match=words):
            await store.retry(lambda: store.redis.ping(), deadline=0.2)
        await redis.aclose()


@pytest.mark.parametrize(
    ("version", "mode", "kind", "words"),
    [
        ("5.0.14", "standalone", StoreTooOld, "this is Redis 5.0.14; 6.2 or newer"),
        ("6.0.9", "standalone", StoreTooOld, "6.2 or newer"),
        ("7.4.0", "cluster", ConfigError, "Cluster"),
    ],
)
async def test_servers_that_are_refused(
    version: str, mode: str, kind: type[Exception], words: str
) -> None:
    info = bulk(f"# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\n")
    async with canned_redis(lambda _: info) as url:
        with pytest.raises(kind, match=words):
            async with open_store(url):
                pass


async def test_state_of_a_newer_version_is_refused(desk: Desk, redis_url: str) -> None:
    await desk.redis.hset(keys.installation(), "format", "99")
    with pytest.raises(ConfigError, match="has format 99, this version knows"):
        async with open_store(redis_url):
            pass
    assert await desk.redis.hget(keys.installation(), "format") == b"99"


async def test_nobody_there() -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        async with open_store("redis://127.0.0.1:1/0"):
            pass
    assert time.monotonic() - began <= 3.5


async def test_scripts_work_without_having_been_loaded(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.redis.script_flush()
    assert await desk.mailbox().claim(thread, desk.settings) is None
    await wait_until(lambda: True)


async def test_scripts_that_travel_together_run_in_order(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.redis.script_flush()
    store = desk.store
    wrong = store.call(stale_emit(thread))
    last = store.call(scripts.settle(pending=keys.pending(), thread="t", message="m"))
    for _ in ("not known to the server", "known"):
        await desk.redis.hset(keys.pending(), "t", "m")
        replies = await store.several_once([wrong, last])
        assert "FENCED" in str(replies[0])
        assert replies[1] == 1
