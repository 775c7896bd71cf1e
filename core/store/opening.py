"""Opening a store: which servers and which stored state we accept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import (
    RedisError,
)

from core.errors import ConfigError, StoreTooOld
from core.store import keys
from core.store.client import Store
from core.store.connection import connect
from core.store.errors import translate
from core.store.migrations import FORMAT_FIELD, migrate
from core.store.scripts import read_scripts

STATE_FORMAT = 2
"""Version of everything we keep in Redis; a newer one is refused."""

RESTORING_FIELD = "restoring"
"""Of the installation: since when a restore is at work. Nothing else may use the state then."""
OLDEST = (6, 2)


@asynccontextmanager
async def open_store(url: str) -> AsyncGenerator[Store]:
    """Connect, check the server, bring the state to our format, close at the end.

    Raises StoreError, ConfigError.
    """
    async with open_untouched_store(url, blocking=False) as store:
        name = keys.installation()
        await store.retry(lambda: store.redis.hsetnx(name, FORMAT_FIELD, str(STATE_FORMAT)))
        try:
            await migrate(store.redis, target=STATE_FORMAT)
        except RedisError as error:
            raise translate(error) from error
        yield store


@asynccontextmanager
async def open_untouched_store(
    url: str, *, blocking: bool = True, half_restored: bool = False
) -> AsyncGenerator[Store]:
    """The same without a change to the state, whatever its format; ``half_restored`` allows a
    restore that did not finish. Raises StoreError, ConfigError."""
    redis = connect(url, blocking=blocking)
    store = Store(redis, read_scripts())
    try:
        await check_server(store)
        await check_state(store, half_restored=half_restored)
        yield store
    finally:
        await redis.aclose()


async def check_server(store: Store) -> None:
    """Refuse servers that are too old or a cluster."""
    info = await store.retry(lambda: store.redis.info("server"))
    version = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise StoreTooOld(f"this is Redis {version}; 6.2 or newer is needed (or any Valkey)")
    if is_cluster(info):
        raise ConfigError(
            "REDIS_URL points to a Redis Cluster; use a single or Sentinel-managed server"
        )


def is_cluster(info: Mapping[str, Any]) -> bool:
    """Whether INFO is of a node of a cluster. Valkey and Redis name the field differently."""
    return "cluster" in (info.get("server_mode"), info.get("redis_mode"))


async def check_state(store: Store, *, half_restored: bool = False) -> None:
    """Refuse state that a newer version of us wrote, or that a restore left half done."""
    name = keys.installation()
    found, restoring = await store.retry(
        lambda: store.redis.hmget(name, FORMAT_FIELD, RESTORING_FIELD)
    )
    if restoring is not None and not half_restored:
        raise ConfigError(
            f"a restore that began at {restoring.decode()} did not finish; "
            "run `assistant restore FILE` again"
        )
    if found is not None and int(found) > STATE_FORMAT:
        raise ConfigError(
            f"the stored state has format {int(found)}, this version knows {STATE_FORMAT}; "
            "install the newer version again, or start on another ASSISTANT_HOME or REDIS_URL"
        )
