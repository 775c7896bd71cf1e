"""Server-sent events: the journal, as it grows.

A stream only reads. It may be cut at any moment and opened again with its last id; the turn goes
on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from sse_starlette import EventSourceResponse, ServerSentEvent

from core.accounts.principal import Principal
from core.accounts.revocations import Revocations
from core.conversations.following import ReaderTooSlow, follow, follow_user
from core.conversations.hub import Hub, Subscription
from core.conversations.journal import Entry, holds, last_id
from core.errors import StoreError
from core.events import Event, Reset, ServerShutdown, TurnFinished, payload
from core.metrics import STREAM_READERS
from core.services import Services
from core.store import keys
from core.store.client import PATIENCE

log = logging.getLogger(__name__)

PING = 10
"""Seconds between comments on a silent stream; proxies cut silent connections after 60."""

RETRY = b"retry: 2000\n\n"


def frame(event: Event) -> bytes:
    """The frame of an event that is in no journal: without id, conversation and time."""
    return f"event: {event.type}\ndata: ".encode() + payload(event) + b"\n\n"


def _ping() -> ServerSentEvent:
    return ServerSentEvent(comment="ping")


@dataclass(frozen=True)
class Streams:
    """Opens event streams for signed-in readers."""

    services: Services
    hub: Hub
    revocations: Revocations

    def farewell(self) -> None:
        """Let every stream say goodbye and end: the process stops."""
        self.hub.close_readers()
        self.revocations.wake_all()

    @asynccontextmanager
    async def subscribe(
        self, user: Principal, thread_id: str | None
    ) -> AsyncGenerator[Subscription]:
        """A subscription that ends with the reader's credential."""
        with self.revocations.watch(user.credential) as ended:
            scope = STREAM_READERS.labels("thread" if thread_id else "user")
            async with self.hub.subscribe(user.user_id, thread_id) as subscription:
                task = asyncio.create_task(ended.wait())
                task.add_done_callback(lambda _: subscription.close())
                try:
                    with scope.track_inprogress():
                        yield subscription
                finally:
                    task.cancel()

    async def of_thread(
        self, user: Principal, thread_id: str, after: str, *, until_idle: bool
    ) -> AsyncGenerator[bytes]:
        """Frames of one thread."""
        async with self.subscribe(user, thread_id) as subscription:
            yield RETRY
            if not await holds(self.services.store, thread_id, after):
                yield frame(Reset())
                after = await last_id(self.services.store, thread_id)
            if until_idle and await self._drained(thread_id, after):
                return
            batches = follow(self.services.store, subscription, thread_id, after)
            async for one in self._frames(batches):
                yield one.data
                if until_idle and one.ends_run and await self._drained(thread_id, one.last):
                    return

    async def of_user(self, user: Principal, after: str | None) -> AsyncGenerator[bytes]:
        """Frames of all threads of a user."""
        async with self.subscribe(user, None) as subscription:
            yield RETRY
            batches = follow_user(self.services.store, subscription, user.user_id, after)
            async for one in self._frames(batches):
                yield one.data

    async def _frames(self, batches: AsyncGenerator[list[Entry]]) -> AsyncGenerator[_Frame]:
        try:
            async for entries in batches:
                data = b"".join(entry.frame for entry in entries)
                ends = any(entry.type == TurnFinished.type for entry in entries)
                yield _Frame(data, entries[-1].id, ends)
        except ReaderTooSlow:
            return
        finally:
            await batches.aclose()
        if self.hub.closing:
            yield _Frame(frame(ServerShutdown()), "", ends_run=False)

    async def _drained(self, thread_id: str, last: str) -> bool:
        """Whether nothing waits or runs, and the reader has seen all."""
        store = self.services.store
        waiting = await store.retry(lambda: store.redis.exists(keys.inbox(thread_id)))
        return not waiting and await last_id(store, thread_id) == last


@dataclass(frozen=True, slots=True)
class _Frame:
    data: bytes
    last: str
    ends_run: bool


async def _until_outage(frames: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The frames; when Redis goes away the stream ends and the client comes again with its last
    id."""
    PATIENCE.set(None)  # a stream outlives the request that opened it
    async with aclosing(frames):
        try:
            async for data in frames:
                yield data
        except StoreError as error:
            log.info("an event stream ends: %s", error)


class _EventStream(EventSourceResponse):
    """Ends with the hub, which hears of a shutdown first and lets streams say farewell. The
    library's own way looks for one twice a second, a fifth of what an idle web process costs."""

    @staticmethod
    async def _listen_for_exit_signal() -> None:
        await asyncio.Event().wait()


def respond(frames: AsyncGenerator[bytes]) -> EventSourceResponse:
    """The streaming answer."""
    return _EventStream(
        _until_outage(frames),
        ping=PING,
        ping_message_factory=_ping,
        sep="\n",
    )
