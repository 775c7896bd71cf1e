"""Subscriptions that notice when nobody speaks to them any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError

SILENCE, PONG = 2.0, 1.0
"""Seconds without a word before the connection is pinged, and then until it is given up: a
connection whose other end has gone without a word looks like one on which nothing happens."""

BACKED = 5.0
"""Silence where something else tells what is missed meanwhile, a little later."""

STEP = 2.8
"""Seconds for all else. redis-py connects anew inside of any call, and waits there without a limit,
because connections for subscriptions have no timeout."""


@asynccontextmanager
async def subscription(redis: Redis, *channels: str) -> AsyncGenerator[PubSub]:
    """A subscription, asked for but not yet confirmed. Raises RedisError, OSError."""
    async with redis.pubsub() as pubsub:
        async with asyncio.timeout(STEP):
            await pubsub.subscribe(*channels)
        yield pubsub


async def heard(pubsub: PubSub, *, silence: float | None = None) -> AsyncGenerator[dict[str, Any]]:
    """What comes on a subscription, confirmations and pongs included. ``silence``: seconds without
    a word before it is pinged.

    The subscription must not ignore confirmations: they would count as silence. Raises RedisError,
    OSError.
    """
    silent = False
    while True:
        wait = PONG if silent else silence or SILENCE
        async with asyncio.timeout(wait + STEP):
            message = cast("dict[str, Any] | None", await pubsub.get_message(timeout=wait))
        if message is not None:
            silent = False
            yield message
        elif silent:
            raise ConnectionError("no answer to a ping")
        else:
            silent = True
            async with asyncio.timeout(STEP):
                await pubsub.ping()
