"""The journal of a thread: its entries, and how they are read."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from core.errors import Invalid
from core.events import Event, Unknown, decode
from core.store import keys
from core.store.client import Store

log = logging.getLogger(__name__)

START = "0-0"
PAGE = 500

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
    def event(self) -> Event | Unknown:
        """What it tells; read when first asked for, because handing entries on needs it not."""
        return decode(self.type, self.data)

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
    rows = await store.retry(lambda: store.redis.xrange(name, f"({after}", "+", count=count))
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
    rows = await store.retry(lambda: store.redis.xrevrange(name, "+", "-", count=1))
    return rows[0][0].decode() if rows else START


async def holds(store: Store, thread_id: str, entry_id: str) -> bool:
    """Whether a reader may go on after this id without a gap."""
    if entry_id == START:
        return True
    name = keys.journal(thread_id)
    rows = await store.retry(lambda: store.redis.xrange(name, entry_id, entry_id, count=1))
    return bool(rows)
