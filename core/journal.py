"""The journal of a thread: its entries, and how they reach the readers (core/following.py).

One pub/sub connection per process serves all readers: the hub splits each publication once and
hands the entries
to whoever follows that user. A reader that missed something (its queue overflowed, or the
connection to Redis was renewed) reads the gap from the stream.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from core.errors import Invalid, StoreUnavailable
from core.metrics import SLOW_READERS
from core.store import keys
from core.store.client import Store
from core.store.listening import heard

log = logging.getLogger(__name__)

START = "0-0"
PAGE = 500
MAX_WAITING = 2_000
"""Entries that may wait for a slow reader before it is dropped; it resumes by its last id."""

DELETED = "thread_deleted"
"""Type of the last entry that readers of a deleted thread get. It is published only: the journal
is gone with the thread."""

CONFIRM_TIMEOUT = 2.8
RENEW_PAUSE = 0.2

ENTRY_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


@dataclass(frozen=True)
class Entry:
    """One journal entry. ``data`` is the event's payload as JSON."""

    thread_id: str
    id: str
    run_id: str
    type: str
    data: bytes

    @cached_property
    def order(self) -> tuple[int, int]:
        """The id as numbers, for comparison."""
        return order(self.id)

    @cached_property
    def at(self) -> str:
        """When it was written: the id begins with Redis's clock in milliseconds."""
        moment = datetime.fromtimestamp(self.order[0] / 1000, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @cached_property
    def json(self) -> bytes:
        """The event as clients see it: one JSON object with type, thread_id, run_id and at."""
        head = (
            f'{{"type":"{self.type}","thread_id":"{self.thread_id}",'
            f'"run_id":"{self.run_id}","at":"{self.at}"'
        ).encode()
        return head + (b"," + self.data[1:] if len(self.data) > 2 else b"}")

    @cached_property
    def frame(self) -> bytes:
        """The SSE frame; built once, however many clients read it."""
        return f"id: {self.id}\nevent: {self.type}\ndata: ".encode() + self.json + b"\n\n"


def order(entry_id: str) -> tuple[int, int]:
    """An id as numbers."""
    left, _, right = entry_id.partition("-")
    return int(left), int(right)


def check_id(entry_id: str) -> str:
    """The id, if it is one. Raises Invalid."""
    if not ENTRY_ID.fullmatch(entry_id):
        raise Invalid(f"{entry_id[:40]!r} is no event id; use one that the stream sent, or {START}")
    return entry_id


async def read(store: Store, thread_id: str, after: str, count: int = PAGE) -> list[Entry]:
    """Entries after an id, oldest first."""
    name = keys.journal(thread_id)
    rows = await store.retry(
        lambda: cast(
            "Awaitable[list[Any]]", store.redis.xrange(name, f"({after}", "+", count=count)
        )
    )
    return [_entry(thread_id, row) for row in rows]


def _entry(thread_id: str, row: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    entry_id, fields = row
    run_id = run_of(thread_id, fields)
    return Entry(thread_id, entry_id.decode(), run_id, fields[b"t"].decode(), fields[b"d"])


def run_of(thread_id: str, fields: dict[bytes, bytes]) -> str:
    """The run of a stored entry: kept without its thread, by older versions with it."""
    run = fields[b"r"].decode()
    return run if "." in run else f"{thread_id}.{run}"


async def last_id(store: Store, thread_id: str) -> str:
    """Id of the newest entry, START if there is none."""
    name = keys.journal(thread_id)
    rows = await store.retry(
        lambda: cast("Awaitable[list[Any]]", store.redis.xrevrange(name, "+", "-", count=1))
    )
    return rows[0][0].decode() if rows else START


async def holds(store: Store, thread_id: str, entry_id: str) -> bool:
    """Whether a reader may go on after this id without a gap."""
    if entry_id == START:
        return True
    name = keys.journal(thread_id)
    rows = await store.retry(
        lambda: cast("Awaitable[list[Any]]", store.redis.xrange(name, entry_id, entry_id, count=1))
    )
    return bool(rows)


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

    A user's channel stays subscribed once somebody followed it: there are few users, and coming and
    going readers then cost nothing.
    """

    def __init__(self, redis: Redis) -> None:
        self._pubsub: PubSub = redis.pubsub()
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
        """Whoever read on before must look for what was published while we did not hear."""
        self._confirmed.setdefault(channel, asyncio.Event()).set()
        for reader in self._readers.get(channel, ()):
            if reader.open:
                reader.queue.put_nowait(None)

    def _spread(self, channel: str, data: bytes) -> None:
        readers = self._readers.get(channel)
        if not readers:
            return
        entries = split(data)
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
