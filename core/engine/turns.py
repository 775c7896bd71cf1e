"""Running turns: from the claim to the end, with their lease kept and their stop heard."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from core import metrics
from core.conversations.inbound import Unreadable
from core.engine.mailbox import Busy, Mailbox, Turn
from core.engine.turn_journal import OUTAGE_LIMIT, RETRY_PAUSE, TurnJournal
from core.engine.turn_meter import TurnClock, taken
from core.errors import Fenced, StoreError
from core.events import Event, TurnFailed, TurnFinished
from core.live_settings.live import LiveSettings
from core.settings.groups import EngineSettings

log = logging.getLogger(__name__)

LONGEST_RENEWAL = 0.6
"""Seconds between renewals: a turn hears by them of a cancellation whose announcement was lost, and
that may take a second, one and a half of these pauses included."""

T = TypeVar("T")
Reason = Literal["user", "lost", "drain"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a turn ended: its last events and what the transcript keeps."""

    events: Sequence[Event]
    records: Sequence[bytes] = ()


@dataclass(eq=False)
class TurnControl:
    """How a running turn is stopped from outside."""

    reason: Reason | None = None
    _task: asyncio.Task[Any] | None = field(default=None, repr=False)

    def watch(self, task: asyncio.Task[Any]) -> None:
        """Name the task that a stop cancels; at once if the stop came before."""
        self._task = task
        if self.reason is not None:
            task.cancel(self.reason)

    def stop(self, reason: Reason) -> None:
        """Cancel the turn. The first reason stays, but for losing the lease, which beats all."""
        if self.reason is None or reason == "lost":
            self.reason = reason
        if self._task is not None:
            self._task.cancel(reason)


class HandOver(Exception):
    """The turn stops in the middle, and another worker goes on with it."""


Handler = Callable[[Turn, TurnControl, TurnJournal], Awaitable[Ending]]
"""Runs a turn to its end. Raises HandOver or Fenced when it was stopped for that."""

GiveUp = Callable[[Turn, str, str], Ending]
"""Ending for a turn that is not run (again): turn, code, detail."""


@dataclass(eq=False)
class Running:
    turn: Turn
    control: TurnControl
    since: float


class Turns:
    """The turns of one worker."""

    def __init__(
        self, mailbox: Mailbox, live: LiveSettings, handler: Handler, give_up: GiveUp
    ) -> None:
        self._mailbox = mailbox
        self._live = live
        self._handler = handler
        self._give_up = give_up
        self.running: dict[str, Running] = {}
        self.busy = asyncio.Event()
        """Set while turns run."""
        self.count = 0
        self.draining = False
        """Set when no further message may be taken."""
        self.handing_over = False
        """Set when running turns must go to other workers."""

    @property
    def _engine(self) -> EngineSettings:
        return self._live.current.engine

    def hand_over(self) -> None:
        """Stop every turn in the middle, for other workers to go on with."""
        self.handing_over = True
        for running in list(self.running.values()):
            running.control.stop("drain")

    def stop(self, run_id: str, reason: Reason) -> None:
        """Stop a turn, if it runs here."""
        if running := self.running.get(run_id):
            running.control.stop(reason)

    async def take(self, turn: Turn) -> Turn | Busy | None:
        """Bring a turn to its end; the value is what the conversation has next."""
        self.count += 1
        with taken(turn) as clock:
            return await self._take(turn, clock)

    async def _take(self, turn: Turn, clock: TurnClock) -> Turn | Busy | None:
        if turn.cancelled:
            ending = self._give_up(turn, "cancelled", "stopped before it began")
        elif turn.crashes > self._engine.max_attempts:
            why = f"this message stopped its worker {self._engine.max_attempts} times"
            await self._bury(turn, why)
            ending = self._give_up(turn, "gave_up", f"{why}; it is not tried again by itself")
        elif isinstance(turn.inbound, Unreadable):
            why = f"what came in cannot be answered: {turn.inbound.why}"
            await self._bury(turn, why)
            ending = self._give_up(turn, "unreadable", why)
        else:
            run = await self._run(turn)
            if run is None:
                return None
            ending = run
        return await self._end(turn, ending, clock)

    async def _bury(self, turn: Turn, why: str) -> None:
        await self._mailbox.bury(turn, why)
        metrics.DEAD_LETTERS.inc()

    async def _run(self, turn: Turn) -> Ending | None:
        """The ending, or None when the turn was handed over or lost."""
        control = TurnControl()
        writer = TurnJournal(self._mailbox, turn, self._engine)
        self.running[turn.run_id] = Running(turn, control, time.monotonic())
        self.busy.set()
        if self.handing_over:
            control.stop("drain")
        try:
            ending = await self._handler(turn, control, writer)
            await writer.settle()
            return Ending([*writer.take_rest(), *ending.events], ending.records)
        except HandOver:
            await writer.close()
            await self._patiently(turn, "hand-over", lambda: self._mailbox.release(turn))
            metrics.HANDOVERS.inc()
            log.info("run %s handed over", turn.run_id)
            return None
        except Fenced:
            metrics.LOST.inc()
            log.info("run %s was taken over by another worker", turn.run_id)
            return None
        finally:
            await writer.close()
            self.running.pop(turn.run_id, None)
            if not self.running:
                self.busy.clear()

    async def _end(self, turn: Turn, ending: Ending, clock: TurnClock) -> Turn | Busy | None:
        """Write the end and take the next message."""
        try:
            following = await self._patiently(
                turn,
                "end",
                lambda: self._mailbox.done(
                    turn,
                    events=ending.events,
                    records=ending.records,
                    settings=self._engine,
                    take_next=not self.draining,
                ),
            )
        except Fenced:
            metrics.LOST.inc()
            return None
        clock.ended(ending.events)
        return following

    async def _patiently(self, turn: Turn, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Write through an outage of Redis. Raises Fenced, StoreError."""
        limit = time.monotonic() + OUTAGE_LIMIT
        while True:
            try:
                return await call()
            except StoreError as error:
                if time.monotonic() > limit:
                    raise
                log.warning("run %s: %s not written yet: %s", turn.run_id, what, error)
                await asyncio.sleep(RETRY_PAUSE)

    async def renew(self) -> None:
        """Renew the leases of turns that live longer; hear what pub/sub may have lost."""
        await self.busy.wait()
        pause = min(self._engine.lease_ms / 5000, LONGEST_RENEWAL)
        await asyncio.sleep(pause)
        now = time.monotonic()
        old = [r for r in self.running.values() if now - r.since > pause / 2]
        for running in old:
            ours, stop = await self._mailbox.renew(running.turn, self._engine)
            if not ours:
                running.control.stop("lost")
            elif stop:
                running.control.stop("user")


def plain_ending(code: str, detail: str, *, retryable: bool = True) -> tuple[Event, ...]:
    """Last events of a turn that was not run to its end."""
    if code == "cancelled":
        return (TurnFinished("cancelled"),)
    return (TurnFailed(code, detail, retryable), TurnFinished("failed"))
