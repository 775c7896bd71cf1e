"""Subscriptions that notice when nobody speaks to them any more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError

SILENCE = 2.0
"""Seconds without a word before the connection is pinged, and as long until it is given up: a
connection whose other end has gone without a word looks like one on which nothing happens."""


async def heard(pubsub: PubSub) -> AsyncGenerator[dict[str, Any]]:
    """What comes on a subscription, confirmations and pongs included.

    The subscription must not ignore confirmations: they would count as silence. Raises RedisError,
    OSError.
    """
    silent = False
    while True:
        message = cast("dict[str, Any] | None", await pubsub.get_message(timeout=SILENCE))
        if message is not None:
            silent = False
            yield message
        elif silent:
            raise ConnectionError("no answer to a ping")
        else:
            silent = True
            await pubsub.ping()
