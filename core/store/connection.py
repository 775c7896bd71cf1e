"""Connections to Redis, Valkey and the embedded server."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    TimeoutError,
)

from core.store.redis import RedisClient

SOCKET_TIMEOUT = 1.5

MAX_CONNECTIONS = 500


# Its stub allows tuples of one only.
_packed = cast("Callable[[tuple[object, ...]], bytes]", hiredis.pack_command)


class _PromptConnection(AbstractConnection):
    """Sends without ``asyncio.wait_for``, which before Python 3.12 swallows a cancellation now and
    then (a turn would not stop, a worker not end) and costs a task for each command. Packs in C, as
    redis-py's synchronous connections do."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name = args[0]
        # "CLIENT SETINFO" and its like are two words on the wire.
        words = (name.encode() if isinstance(name, str) else name).split()
        try:
            return [_packed((*words, *args[1:]))]
        except TypeError:
            return super().pack_command(*args)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(command, check_health)
        except builtins.TimeoutError as error:
            raise TimeoutError("Timeout writing to socket") from error
        finally:
            self.socket_timeout = limit


def connect(url: str, *, blocking: bool = False) -> RedisClient:
    """A client for the URL. ``blocking`` ones have no socket timeout: for BLPOP and pub/sub."""
    pool = ConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        socket_timeout=None if blocking else SOCKET_TIMEOUT,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=False,
    )
    kind = pool.connection_class
    pool.connection_class = type(f"Prompt{kind.__name__}", (_PromptConnection, kind), {})
    return cast("RedisClient", Redis.from_pool(pool))
