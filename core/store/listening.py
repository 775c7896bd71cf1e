"""Subscriptions that notice when nobody speaks to them any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import ConnectionError, RedisError

from core.errors import StoreError
from core.store.redis import PubSub, RedisClient

log = logging.getLogger(__name__)

SILENCE, PONG = 2.0, 1.0
"""Seconds without a word before the connection is pinged, and then until it is given up: a
connection whose other end has gone without a word looks like one on which nothing happens."""

BACKED = 5.0
"""Silence where something else tells what is missed meanwhile, a little later."""

STEP = 2.8
"""Seconds for all else. redis-py connects anew inside of any call, and waits there without a limit,
because connections for subscriptions have no timeout."""

AGAIN = 0.5
"""Seconds before a subscription that broke is asked for again."""

Heard = Callable[[str | None], Awaitable[None]]
"""Is called with each announcement, and with ``None`` when the subscription begins or begins again:
what was announced until then was not heard."""


@asynccontextmanager
async def subscription(redis: RedisClient, *channels: str) -> AsyncGenerator[PubSub]:
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
            message = await pubsub.get_message(timeout=wait)
        if message is not None:
            silent = False
            yield message
        elif silent:
            raise ConnectionError("no answer to a ping")
        else:
            silent = True
            async with asyncio.timeout(STEP):
                await pubsub.ping()


class Announcements:
    """What processes tell each other, heard over one connection a process. All parts of the process
    share it: each connection has its pings, which is most of what an idle process costs.

    An announcement may be lost with the connection, so its listeners need another way to
    find out: at ``None``, or at a look now and then.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._parts: dict[str, list[Heard]] = {}
        self._pubsub: PubSub | None = None
        self.begun = asyncio.Event()
        """Set once the first subscription has begun and its listeners know."""

    async def hear(self, channel: str, listener: Heard) -> None:
        """Call ``listener`` for a channel from now on, after those who came before it."""
        known = channel in self._parts
        self._parts.setdefault(channel, []).append(listener)
        if known:
            if self.begun.is_set():
                await self._tell(listener, channel, None)
        elif self._pubsub is not None:
            await self._subscribe(self._pubsub, channel)

    async def run(self) -> None:
        """Listen until cancelled, over outages of Redis. ``hear`` something first."""
        broken = False
        while True:
            try:
                async with subscription(self._redis, *(before := list(self._parts))) as pubsub:
                    self._pubsub, broken = pubsub, False
                    if late := self._parts.keys() - before:
                        await self._subscribe(pubsub, *late)
                    async for message in heard(pubsub, silence=BACKED):
                        await self._handle(message)
            except (RedisError, StoreError, OSError) as error:
                if not broken:
                    log.warning("announcements are not heard (%s); trying again", error)
                broken = True
            finally:
                self._pubsub = None
            await asyncio.sleep(AGAIN)

    async def _subscribe(self, pubsub: PubSub, *channels: str) -> None:
        """One more channel on the open connection; if that breaks, the next one has them all."""
        try:
            async with asyncio.timeout(STEP):
                await pubsub.subscribe(*channels)
        except (RedisError, OSError) as error:
            log.debug("not subscribed yet: %s", error)

    async def _handle(self, message: dict[str, Any]) -> None:
        if message["type"] not in ("subscribe", "message"):
            return
        channel = message["channel"].decode()
        began = message["type"] == "subscribe"
        text = None if began else message["data"].decode(errors="replace")
        for listener in list(self._parts.get(channel, ())):
            await self._tell(listener, channel, text)
        if began:
            self.begun.set()

    async def _tell(self, listener: Heard, channel: str, text: str | None) -> None:
        try:
            await listener(text)
        except (RedisError, StoreError, OSError):
            raise  # listening begins again, and with it the listener
        except Exception:  # delivery: one listener must not make the others deaf
            log.exception("an announcement on %s was not handled", channel)
