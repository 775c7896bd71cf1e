"""Everything around one mailbox: threads, messages in, entries out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from core.conversations import journal
from core.conversations.inbound import Message
from core.conversations.inbox import Accepted, Bus
from core.conversations.threads import Threads
from core.conversations.transcript import read_record
from core.engine.mailbox import Busy, Mailbox, Turn
from core.events import Event, TurnFinished
from core.settings.groups import EngineSettings
from core.store import keys, scripts
from core.store.calling import Call
from core.store.client import Store

USER = "u1"


def stale_emit(thread: str) -> Call:
    """A call that is refused: its turn is no longer the thread's."""
    return scripts.emit(
        control=keys.control(thread),
        journal=keys.journal(thread),
        epoch=7,
        sequence=1,
        maxlen=10,
        ttl="",
        run=f"{thread}.r",
        thread=thread,
        channel="c",
        events=(),
    )


async def show_a_worker(store: Store) -> None:
    """The sign of life that a worker gives."""
    await store.redis.zadd(keys.workers(), {"w": int(time.time() * 1000)})


@dataclass
class Desk:
    """A store seen as conversations."""

    store: Store
    settings: EngineSettings = field(default_factory=EngineSettings)

    @property
    def redis(self) -> Any:
        """The raw client; ``Any`` because redis-py types every answer as a union."""
        return self.store.redis

    async def thread(self, *, user: str = USER, ttl: int | None = None) -> str:
        """A new thread."""
        return (await Threads(self.store).create(user, ttl=ttl)).id

    async def send(
        self,
        thread: str,
        message_id: str = "m1",
        text: str = "hello",
        *,
        user: str = USER,
        **more: Any,
    ) -> Accepted:
        """Submit a message."""
        inbound = Message(message_id, user, thread, "test", text, **more)
        return await Bus(self.store).submit(inbound, self.settings)

    def mailbox(self, name: str = "A") -> Mailbox:
        """A worker's mailbox."""
        return Mailbox(self.store, name)

    async def claim(self, thread: str, name: str = "A") -> Turn:
        """A turn that must be there."""
        turn = await self.mailbox(name).claim(thread, self.settings)
        assert isinstance(turn, Turn)
        return turn

    async def finish(
        self,
        turn: Turn,
        name: str = "A",
        *,
        events: Sequence[Event] = (TurnFinished("completed"),),
        records: Sequence[bytes] | None = None,
        take_next: bool = True,
    ) -> Turn | Busy | None:
        """End a turn; the record is the message's id."""
        kept = [orjson.dumps(turn.inbound.id)] if records is None else records
        return await self.mailbox(name).done(
            turn, events=events, records=kept, settings=self.settings, take_next=take_next
        )

    async def entries(self, thread: str) -> list[journal.Entry]:
        """The journal."""
        return await journal.read(self.store, thread, journal.START)

    async def cancel(self, run_id: str) -> None:
        """Ask a run to stop."""
        await Bus(self.store).cancel(run_id)

    async def told(self, thread: str) -> list[tuple[str, dict[str, Any]]]:
        """The journal as (type, payload)."""
        return [
            (e.type, cast("dict[str, Any]", orjson.loads(e.data)))
            for e in await self.entries(thread)
        ]

    async def transcript(self, thread: str) -> list[Any]:
        """The records."""
        rows = await self.redis.lrange(keys.transcript(thread), 0, -1)
        return [read_record(row) if row.startswith(b"{") else orjson.loads(row) for row in rows]

    async def waiting(self, thread: str) -> int:
        """Messages in the inbox."""
        return int(await self.redis.xlen(keys.inbox(thread)))

    async def control(self, thread: str, name: str) -> str | None:
        """A field of the control hash."""
        value = await self.redis.hget(keys.control(thread), name)
        return None if value is None else value.decode()
