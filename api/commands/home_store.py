"""The store of this home for one command, whether the assistant runs or not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from core.home.embedded import server_for
from core.settings.groups import Settings
from core.store.client import Store
from core.store.errors import translate
from core.store.opening import open_store, open_untouched_store
from core.store.redis import RedisClient


@asynccontextmanager
async def open_home_store(settings: Settings) -> AsyncGenerator[RedisClient]:
    """A client of the store; an embedded server that does not run is started for the while.

    Raises ConfigError, StoreError.
    """
    async with open_home(settings) as store:
        yield store.redis


@asynccontextmanager
async def open_home(settings: Settings) -> AsyncGenerator[Store]:
    """The same with our scripts and retries."""
    async with (
        server_for(settings.home, settings.store) as url,
        open_store(url) as store,
    ):
        try:
            yield store
        except RedisError as error:
            raise translate(error) from error


@asynccontextmanager
async def open_untouched_home(
    settings: Settings, *, half_restored: bool = False
) -> AsyncGenerator[Store]:
    """The store without bringing its state to our format; patient, for long work.

    Raises ConfigError, StoreError.
    """
    async with (
        server_for(settings.home, settings.store) as url,
        open_untouched_store(url, half_restored=half_restored) as store,
    ):
        try:
            yield store
        except RedisError as error:
            raise translate(error) from error
