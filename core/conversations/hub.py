"""Fans journal entries out to the readers of this process.

One pub/sub connection serves all readers: the hub splits each publication once and hands the
entries to the readers of that user. A reader that missed something (its queue overflowed, or the
connection to Redis was renewed) reads the gap from the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from core.conversations.journal import Entry
from core.errors import StoreUnavailable
from core.metrics import SLOW_READERS
from core.store import keys
from core.store.listening import heard
from core.store.redis import RedisClient

log = logging.getLogger(__name__)
MAX_WAITING = 2_000
"""Entries that may wait for a slow reader before it is dropped; it resumes by its last id."""

CONFIRM_TIMEOUT = 2.8
RENEW_PAUSE = 0.2


@dataclass(eq=False)
class Subscription:
    """What one reader still has to read. ``None`` in the queue asks it to look at the stream
    again."""

    thread_id: str | None
    queue: asyncio.Queue[list[Entry] | None] = field(default_factory=asyncio.Queue)
    waiting: int = 0
    open: bool = False
    dropped: bool = False
    closed: bool = False
    again: bool = False
    """A None was met behind entries; it is the next answer."""

    def put(self, entries: list[Entry]) -> None:
        """Hand entries over, or mark the reader as too slow."""
        if self.dropped:
            return
        if self.waiting + len(entries) > MAX_WAITING:
            self.dropped = True
            SLOW_READERS.inc()
            self.queue.put_nowait([])
            return
        self.waiting += len(entries)
        self.queue.put_nowait(entries)

    def close(self) -> None:
        """End the reader's stream: the server stops, or its credential was revoked."""
        self.closed = True
        self.queue.put_nowait([])

    async def get(self) -> list[Entry] | None:
        """All entries that wait, or None: read the stream.

        All, so that a process with too much to do sends them together: it catches up by itself.
        """
        if self.again:
            self.again = False
            return None
        entries = await self.queue.get()
        if entries is None or self.queue.empty():
            self.waiting -= len(entries or ())
            return entries
        entries = [*entries]
        while not self.queue.empty() and not self.again:
            more = self.queue.get_nowait()
            self.again = more is None
            entries += more or ()
        self.waiting -= len(entries)
        return entries


class Hub:
    """Fans publications out to the readers of this process over one connection.

    A user's channel stays subscribed once it was followed: there are few users, and coming and
    going readers then cost nothing.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._pubsub = redis.pubsub()
        self._readers: dict[str, set[Subscription]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self.closing = False

    @asynccontextmanager
    async def subscribe(self, user_id: str, thread_id: str | None) -> AsyncGenerator[Subscription]:
        """Follow one thread of a user, or (None) all of them. From here on nothing is missed.

        Raises StoreUnavailable when Redis does not confirm in time.
        """
        subscription = Subscription(thread_id)
        if self.closing:
            subscription.close()
        channel = keys.user_channel(user_id)
        readers = self._readers.setdefault(channel, set())
        readers.add(subscription)
        try:
            await self._listen(channel)
            subscription.open = True
            yield subscription
        finally:
            readers.discard(subscription)

    def readers(self, user_id: str) -> list[Subscription]:
        """Who follows the user now and is sure to hear."""
        return [one for one in self._readers.get(keys.user_channel(user_id), ()) if one.open]

    async def _listen(self, channel: str) -> None:
        """Return once Redis has confirmed: only from then on is nothing published unheard."""
        confirmed = self._confirmed.get(channel)
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT):
                if confirmed is None:
                    confirmed = self._confirmed[channel] = asyncio.Event()
                    async with self._lock:
                        await self._pubsub.subscribe(channel)
                    self._changed.set()
                await confirmed.wait()
        except (RedisError, OSError, TimeoutError) as error:
            if confirmed is None or not confirmed.is_set():
                self._confirmed.pop(channel, None)
            raise StoreUnavailable(
                "Redis does not answer; the stream can be opened again"
            ) from error

    async def run(self) -> None:
        """Deliver until cancelled; renews the connection when it breaks or falls silent."""
        broken = False
        while True:
            try:
                if broken:
                    await self._renew()
                    broken = False
                await self._deliver()
            except (RedisError, OSError) as error:
                if not broken:
                    log.warning("event stream from Redis broke (%s)", type(error).__name__)
                broken = True
                await asyncio.sleep(RENEW_PAUSE)

    async def _deliver(self) -> None:
        """Handle messages as long as the connection lives."""
        while not self._pubsub.subscribed:
            self._changed.clear()
            await self._changed.wait()
        async for message in heard(self._pubsub):
            self._handle(message)

    def _handle(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "message":
                self._spread(message["channel"].decode(), message["data"])
            case "subscribe":
                self._confirm(message["channel"].decode())
            case _:
                pass

    def _confirm(self, channel: str) -> None:
        """Readers that were here before must look for what was published while we did not hear."""
        self._confirmed.setdefault(channel, asyncio.Event()).set()
        for reader in self._readers.get(channel, ()):
            if reader.open:
                reader.queue.put_nowait(None)

    def _spread(self, channel: str, data: bytes) -> None:
        readers = self._readers.get(channel)
        if not readers:
            return
        try:
            entries = split(data)
        except ValueError as error:
            log.warning("a publication on %s was not understood: %s", channel, error)
            return
        if not entries:
            return
        for reader in readers:
            if reader.thread_id is None or reader.thread_id == entries[0].thread_id:
                reader.put(entries)

    async def _renew(self) -> None:
        """Connect again; each confirmation tells the readers to look for what they missed."""
        async with self._lock, asyncio.timeout(CONFIRM_TIMEOUT):
            await self._pubsub.aclose()
            if self._confirmed:
                await self._pubsub.subscribe(*self._confirmed)

    def close_readers(self) -> None:
        """End every stream, now and from now on: the process stops."""
        self.closing = True
        for readers in self._readers.values():
            for reader in readers:
                reader.close()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pubsub.aclose()


def split(data: bytes) -> list[Entry]:
    """The entries of one publication (see core/store/lua/_prelude.lua)."""
    thread, *rows = data.split(b"\x1e")
    thread_id = thread.decode()
    entries: list[Entry] = []
    for row in rows:
        entry_id, run_id, kind, body = row.split(b"\x1f", 3)
        entries.append(Entry(thread_id, entry_id.decode(), run_id.decode(), kind.decode(), body))
    return entries
