"""Credentials that end while requests run: every process hears of it, open streams close.

Redis announces a revocation at once. A sweep finds what no announcement tells: credentials that
expired, and announcements that were lost while the connection was down.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress

from redis.exceptions import RedisError

from core.store import keys
from core.store.listening import BACKED, heard, subscription
from core.store.redis import RedisClient

SWEEP_SECONDS = 5.0
REMEMBERED_SECONDS = 30.0
"""Longer than any look-up takes: one that began before a revocation must not win over it."""

RECONNECT_SECONDS = 0.2
START_SECONDS = 3.0

logger = logging.getLogger(__name__)


class Revocations:
    """Whom to tell that a credential ended. Credentials are named by their digests."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._ended: dict[str, float] = {}
        self._listeners: list[Callable[[str], object]] = []
        self._subscribed = asyncio.Event()

    def on_end(self, listener: Callable[[str], object]) -> None:
        """Call ``listener`` with the digest of each credential that ends."""
        self._listeners.append(listener)

    def ended(self, credential: str) -> bool:
        """Whether the credential was revoked just now."""
        return credential in self._ended

    @contextmanager
    def watch(self, credential: str) -> Generator[asyncio.Event]:
        """An event that is set once the credential has ended; for streams that stay open."""
        event = asyncio.Event()
        if self.ended(credential):
            event.set()
        watchers = self._watchers.setdefault(credential, set())
        watchers.add(event)
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers and self._watchers.get(credential) is watchers:
                del self._watchers[credential]

    def wake_all(self) -> None:
        """End all waits though no credential has ended: the process stops."""
        for watchers in self._watchers.values():
            for event in watchers:
                event.set()

    def end(self, credential: str) -> None:
        """Tell everybody in this process."""
        now = time.monotonic()
        self._ended = {k: at for k, at in self._ended.items() if now - at < REMEMBERED_SECONDS}
        self._ended[credential] = now
        for listener in self._listeners:
            listener(credential)
        for event in self._watchers.get(credential, ()):
            event.set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Listen until the block ends; it begins once Redis confirmed, or after 3 seconds."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._sweep())]
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._subscribed.wait(), START_SECONDS)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError) as error:
                logger.warning("cannot hear of revocations, trying again: %s", error)
            self._subscribed.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        async with subscription(self._redis, keys.revocations()) as pubsub:
            async for message in heard(pubsub, silence=BACKED):
                if message["type"] == "subscribe":
                    self._subscribed.set()
                    await self._find_ended()
                elif message["type"] == "message":
                    self.end(message["data"].decode(errors="replace"))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            with suppress(RedisError, OSError):
                await self._find_ended()

    async def _find_ended(self) -> None:
        watched = list(self._watchers)
        async with self._redis.pipeline(transaction=False) as pipe:
            for credential in watched:
                pipe.exists(keys.session(credential), keys.api_key(credential))
            alive: list[int] = await pipe.execute()
        for credential, found in zip(watched, alive, strict=True):
            if not found:
                self.end(credential)
