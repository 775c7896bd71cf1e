"""The worker's side of a conversation: claim, write under the fence, end, hand over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.conversations.inbound import Stored, decode
from core.conversations.inbox import BELL_SEPARATOR
from core.events import Event, payload
from core.ids import new_id
from core.settings.groups import EngineSettings
from core.store import keys, scripts
from core.store.calling import Arg
from core.store.client import Sent, Store
from core.store.reads import Found, Reading, found

MAX_DEAD = 10_000
KEEP_EVENTS = 24 * 3600
"""Seconds after which an ended turn's events leave the journal, at the end of a later turn. Clients
that were away for longer load the conversation anew."""

MAX_PART = 5_000
"""Arguments in one script call; Lua's own limit is about 8,000."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What came in and this worker has to answer, and its right to do so (epoch).

    ``attempt`` numbers the tries from 1, hand-overs included; ``crashes`` counts those that no
    worker gave back, this one included.
    """

    inbound: Stored
    run_id: str
    entry: str
    epoch: int
    attempt: int
    crashes: int
    cancelled: bool
    ttl: str
    found: Found = field(default_factory=Found)
    """What was read as the turn was claimed."""

    @property
    def thread_id(self) -> str:
        """The conversation."""
        return self.inbound.thread_id


@dataclass(frozen=True, slots=True)
class Busy:
    """Another worker holds the conversation, for at most ``milliseconds`` without a sign of
    life."""

    milliseconds: int


class Mailbox:
    """All that one worker does to conversations; ``owner`` is unique per process.

    ``reads`` are sent for each turn, with its claim. What they find in a conversation is what
    earlier turns left, because from the claim on nobody else can write there. A read that fails is
    not found, and the code that needs it reads again.
    """

    def __init__(self, store: Store, owner: str, *, reads: Sequence[Reading] = ()) -> None:
        self._store = store
        self.owner = owner
        self._reads = reads
        self._claims: dict[str, str] = {}

    async def claim(
        self, thread_id: str, settings: EngineSettings, *, user_id: str = ""
    ) -> Turn | Busy | None:
        """The next turn of the thread, Busy, or None when nothing waits. ``user_id``: whose it is,
        as the doorbell says, or the sweeper."""
        # Kept until a reply comes: a claim that was made but not heard of is the same one later.
        token = self._claims.setdefault(thread_id, new_id("c"))
        claim = scripts.claim(
            lease=keys.lease(thread_id),
            control=keys.control(thread_id),
            inbox=keys.inbox(thread_id),
            journal=keys.journal(thread_id),
            meta=keys.meta(thread_id),
            pending=keys.pending(),
            owner=self.owner,
            lease_ms=settings.lease_ms,
            maxlen=settings.journal_length,
            thread=thread_id,
            cancel_prefix=keys.cancel_prefix(thread_id),
            channel_prefix=keys.channel_prefix(),
            token=token,
        )
        reads = [read(thread_id, user_id) for read in self._reads]
        calls = [self._store.call(claim), *(read.sent for read in reads)]
        reply, *replies = await self._store.retry(lambda: self._claim_once(calls))
        outcome = _outcome(thread_id, reply)
        if isinstance(outcome, Turn):
            if outcome.inbound.user_id == user_id:
                outcome = replace(outcome, found=found(reads, replies))
            else:
                # The bell named nobody, or another user, whose data must not be seen here.
                outcome = await self._with_reads(outcome)
        self._claims.pop(thread_id, None)
        return outcome

    async def _with_reads(self, turn: Turn) -> Turn:
        """The turn with what its reads find, in a round trip of their own. Raises StoreError."""
        reads = [read(turn.thread_id, turn.inbound.user_id) for read in self._reads]
        if not reads:
            return turn
        calls = [read.sent for read in reads]
        replies = await self._store.retry(lambda: self._store.several_once(calls))
        return replace(turn, found=found(reads, replies))

    async def _claim_once(self, calls: Sequence[Sent]) -> list[Any]:
        replies = await self._store.several_once(calls)
        if isinstance(replies[0], Exception):
            raise replies[0]
        return replies

    async def renew(self, turn: Turn, settings: EngineSettings) -> tuple[bool, bool]:
        """(still ours, asked to stop)."""
        thread_id = turn.thread_id
        call = scripts.renew(
            lease=keys.lease(thread_id),
            control=keys.control(thread_id),
            cancel_flag=keys.cancel_flag(thread_id, turn.run_id),
            lasting=_expiring(turn),
            owner=self.owner,
            epoch=turn.epoch,
            lease_ms=settings.lease_ms,
            ttl=turn.ttl,
        )
        ours, stop = await self._store.script(call)
        return bool(ours), bool(stop)

    async def emit(
        self, turn: Turn, sequence: int, events: Sequence[Event], settings: EngineSettings
    ) -> None:
        """Append events; ``sequence`` must grow with each call of the turn. Raises Fenced,
        StoreError."""
        call = scripts.emit(
            control=keys.control(turn.thread_id),
            journal=keys.journal(turn.thread_id),
            epoch=turn.epoch,
            sequence=sequence,
            maxlen=settings.journal_length,
            ttl=turn.ttl,
            run=turn.run_id,
            thread=turn.thread_id,
            channel=keys.user_channel(turn.inbound.user_id),
            events=_parts(events),
        )
        await self._store.script(call)

    async def done(
        self,
        turn: Turn,
        *,
        events: Sequence[Event],
        records: Sequence[bytes],
        settings: EngineSettings,
        take_next: bool = True,
    ) -> Turn | Busy | None:
        """End the turn for good and claim the next one. Raises Fenced, StoreError."""
        thread_id = turn.thread_id
        call = scripts.done(
            lease=keys.lease(thread_id),
            control=keys.control(thread_id),
            inbox=keys.inbox(thread_id),
            journal=keys.journal(thread_id),
            meta=keys.meta(thread_id),
            pending=keys.pending(),
            transcript=keys.transcript(thread_id),
            calls=keys.calls(thread_id),
            doorbell=keys.doorbell(),
            lasting=_expiring(turn),
            owner=self.owner,
            lease_ms=settings.lease_ms,
            maxlen=settings.journal_length,
            thread=thread_id,
            cancel_prefix=keys.cancel_prefix(thread_id),
            channel_prefix=keys.channel_prefix(),
            token=f"after {turn.epoch}",
            epoch=turn.epoch,
            entry=turn.entry,
            run=turn.run_id,
            user=turn.inbound.user_id,
            ttl=turn.ttl,
            take_next=int(take_next),
            keep_seconds=KEEP_EVENTS,
            count=len(records),
            rest=(*records, *_parts(events)),
        )
        outcome = _outcome(thread_id, await self._store.script(call))
        # Most turns have no next one, and a checkpoint is long: so the reads are sent only when
        # there is one. It costs no round trip more, for the turn would read its checkpoint anyway.
        # An end that is repeated, because the reads met an outage, gives the same turn again.
        return await self._with_reads(outcome) if isinstance(outcome, Turn) else outcome

    async def release(self, turn: Turn) -> None:
        """Give the turn back unfinished, for another worker to take at once."""
        thread_id = turn.thread_id
        call = scripts.release(
            lease=keys.lease(thread_id),
            control=keys.control(thread_id),
            doorbell=keys.doorbell(),
            epoch=turn.epoch,
            entry=turn.entry,
            ring=f"{thread_id}{BELL_SEPARATOR}{turn.inbound.user_id}",
        )
        await self._store.script(call)

    async def bury(self, turn: Turn, why: str) -> None:
        """Keep a message that is given up on, for `doctor` and the administrator."""
        fields = {
            "thread": turn.thread_id,
            "message": turn.inbound.id,
            "why": why,
            "at": str(turn.inbound.created_at),
        }
        await self._store.retry(
            lambda: self._store.redis.xadd(keys.dead_letters(), fields, maxlen=MAX_DEAD)
        )


def _expiring(turn: Turn) -> tuple[str, ...]:
    """Keys that are given the turn's time to live; none if its thread lasts."""
    return keys.lasting(turn.thread_id) if turn.ttl else ()


def _parts(events: Sequence[Event]) -> list[Arg]:
    parts: list[Arg] = []
    for event in events:
        parts += (event.type, payload(event))
    if len(parts) > MAX_PART:
        raise ValueError("too many events in one call")
    return parts


def _outcome(thread_id: str, reply: list[Any]) -> Turn | Busy | None:
    match reply:
        case [b"busy", left]:
            return Busy(max(int(left), 1))
        case [b"turn", *fields]:
            return _turn(thread_id, fields)
        case _:
            return None


def _turn(thread_id: str, fields: list[Any]) -> Turn:
    epoch, entry, message_id, run_id, body, attempt, crashes, cancelled, user, ttl = fields
    inbound = decode(
        body, message_id=message_id.decode(), thread_id=thread_id, user_id=user.decode()
    )
    return Turn(
        inbound=inbound,
        run_id=run_id.decode(),
        entry=entry.decode(),
        epoch=int(epoch),
        attempt=int(attempt),
        crashes=int(crashes),
        cancelled=bool(cancelled),
        ttl=ttl.decode(),
    )
