"""A worker: takes conversations, runs one turn at a time in each, renews its leases, drains.

Waking is a doorbell (a Redis list that workers block on) with a sweeper as backstop: a lost ring
costs
a second, never a message. What must not be lost is in the inbox and the lease of the thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from core import keys
from core.bus import new_id
from core.errors import Fenced, StoreError
from core.events import Event, TurnFailed, TurnFinished
from core.live import LiveSettings
from core.mailbox import Busy, Mailbox, Turn
from core.settings import EngineSettings
from core.store import Store
from core.turn_journal import OUTAGE_LIMIT, RETRY_PAUSE, TurnJournal

log = logging.getLogger(__name__)

SWEEP = 1.0
BLOCK = 5
SIGN_OF_LIFE = 5.0
WORKER_TTL = 15
STALE_AFTER = 5.0
LONGEST_RENEWAL = 0.6
"""Seconds between renewals: a turn hears by them of a cancellation whose announcement was lost, and
that may take a second, one and a half of these pauses included."""

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
    """The turn stops in the middle and another worker shall go on with it."""


Handler = Callable[[Turn, TurnControl, TurnJournal], Awaitable[Ending]]
"""Runs a turn to its end. Raises HandOver or Fenced when it was stopped for that."""

GiveUp = Callable[[Turn, str, str], Ending]
"""Ending for a turn that is not run (again): turn, code, detail."""


@dataclass(eq=False)
class _Running:
    turn: Turn
    control: TurnControl
    since: float


class Worker:
    """One worker process."""

    def __init__(
        self, store: Store, blocking: Redis, live: LiveSettings, handler: Handler, give_up: GiveUp
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{new_id('w')[2:8]}"
        self._store = store
        self._blocking = blocking
        self._live = live
        self._handler = handler
        self._give_up = give_up
        self._mailbox = Mailbox(store, self.name)
        self._running: dict[str, _Running] = {}
        self._active: dict[str, bool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stale: dict[tuple[str, bytes], float] = {}
        self._draining = asyncio.Event()
        self._handing_over = False
        self._slots = asyncio.Semaphore(self._engine.concurrency)
        self._turns = 0

    @property
    def _engine(self) -> EngineSettings:
        return self._live.current.engine

    async def run(self) -> None:
        """Work until ``drain`` is called. Ends when every turn is finished or handed over."""
        loops = [
            asyncio.create_task(self._forever(loop), name=loop.__name__)
            for loop in (
                self._answer_bell,
                self._sweep,
                self._renew,
                self._hear_cancels,
                self._live_sign,
            )
        ]
        await self._draining.wait()
        loops[0].cancel()
        loops[1].cancel()
        await self._finish_turns()
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await self._leave()

    def drain(self) -> None:
        """Take no more turns; finish the running ones within drain_seconds or hand them over."""
        self._draining.set()

    async def _finish_turns(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._engine.drain_seconds)
        self._handing_over = True
        for running in list(self._running.values()):
            running.control.stop("drain")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)

    async def _leave(self) -> None:
        try:
            async with self._store.redis.pipeline(transaction=False) as pipe:
                pipe.delete(keys.worker(self.name))
                pipe.zrem(keys.workers(), self.name)
                await pipe.execute()
        except (RedisError, OSError):
            log.debug("could not sign off; the entry expires")

    async def _forever(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop body again and again, over outages of Redis."""
        pause = 0.1
        while True:
            started = time.monotonic()
            try:
                await loop()
                pause = 0.1
            except (RedisError, StoreError, OSError) as error:
                log.warning("%s: %s; trying again", loop.__name__, error)
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
                pause = 0.1 if time.monotonic() - started > 10 else min(pause * 2, 1.0)

    # ---- waking

    async def _answer_bell(self) -> None:
        await self._slots.acquire()
        self._slots.release()
        reply = await cast(
            "Awaitable[tuple[bytes, bytes] | None]", self._blocking.blpop([keys.doorbell()], BLOCK)
        )
        if reply is None:
            return
        self._visit(reply[1].decode())

    async def _sweep(self) -> None:
        """Visit threads that have work and nobody who does it; forget those that have none."""
        await asyncio.sleep(SWEEP * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        rows = await self._store.retry(
            lambda: cast("Awaitable[dict[bytes, bytes]]", self._store.redis.hgetall(keys.pending()))
        )
        waiting = [
            (tid.decode(), last) for tid, last in rows.items() if tid.decode() not in self._active
        ]
        if not waiting:
            self._stale.clear()
            return
        states = await self._states([tid for tid, _ in waiting])
        stale: dict[tuple[str, bytes], float] = {}
        for (thread_id, last), (leased, length) in zip(waiting, states, strict=True):
            if length and not leased and not self._slots.locked():
                self._visit(thread_id)
            elif not length:
                since = stale[thread_id, last] = self._stale.get(
                    (thread_id, last), time.monotonic()
                )
                if time.monotonic() - since > STALE_AFTER:
                    await self._store.script("settle", (keys.pending(),), (thread_id, last))
        self._stale = stale

    async def _states(self, thread_ids: list[str]) -> list[tuple[int, int]]:
        async def send() -> list[int]:
            async with self._store.redis.pipeline(transaction=False) as pipe:
                for thread_id in thread_ids:
                    pipe.exists(keys.lease(thread_id))
                    pipe.xlen(keys.inbox(thread_id))
                return await pipe.execute()

        flat = await self._store.retry(send)
        return list(zip(flat[::2], flat[1::2], strict=True))

    def _visit(self, thread_id: str) -> None:
        """See to a thread, or note that its visitor shall look once more before leaving."""
        if thread_id in self._active:
            self._active[thread_id] = True
            return
        self._active[thread_id] = False
        task = asyncio.create_task(self._converse(thread_id), name=f"thread {thread_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, thread_id: str) -> None:
        """Run turns of the thread until its inbox is empty or somebody else has it."""
        async with self._slots:
            try:
                # Looked at first too: a conversation may have waited for its slot until the drain.
                while not self._draining.is_set():
                    self._active[thread_id] = False
                    await self._drain_inbox(thread_id)
                    if not self._active[thread_id]:
                        return
            except Fenced as error:
                log.info("thread %s: %s", thread_id, error)
            except StoreError as error:
                log.warning("thread %s: %s; the sweeper comes back to it", thread_id, error)
            except (
                Exception
            ):  # the boundary of a conversation: log and leave the message to the sweeper
                log.exception("thread %s: unexpected error", thread_id)
            finally:
                del self._active[thread_id]

    async def _drain_inbox(self, thread_id: str) -> None:
        outcome = await self._mailbox.claim(thread_id, self._engine)
        while isinstance(outcome, Turn):
            outcome = await self._take(outcome)
        if isinstance(outcome, Busy):
            log.debug("thread %s is busy for %d ms", thread_id, outcome.milliseconds)

    # ---- one turn

    async def _take(self, turn: Turn) -> Turn | Busy | None:
        self._turns += 1
        if turn.cancelled:
            ending = self._give_up(turn, "cancelled", "stopped before it began")
        elif turn.crashes > self._engine.max_attempts:
            why = f"this message stopped its worker {self._engine.max_attempts} times"
            await self._mailbox.bury(turn, why)
            ending = self._give_up(turn, "gave_up", f"{why}; it is not tried again by itself")
        else:
            run = await self._run(turn)
            if run is None:
                return None
            ending = run
        return await self._end(turn, ending)

    async def _run(self, turn: Turn) -> Ending | None:
        """The ending, or None when the turn was handed over or lost."""
        control = TurnControl()
        writer = TurnJournal(self._mailbox, turn, self._engine)
        self._running[turn.run_id] = _Running(turn, control, time.monotonic())
        if self._handing_over:
            control.stop("drain")
        try:
            ending = await self._handler(turn, control, writer)
            await writer.settle()
            return Ending([*writer.take_rest(), *ending.events], ending.records)
        except HandOver:
            await writer.close()
            await self._mailbox.release(turn)
            log.info("run %s handed over", turn.run_id)
            return None
        except Fenced:
            log.info("run %s was taken over by another worker", turn.run_id)
            return None
        finally:
            await writer.close()
            self._running.pop(turn.run_id, None)

    async def _end(self, turn: Turn, ending: Ending) -> Turn | Busy | None:
        """Write the end, through an outage of Redis if need be."""
        limit = time.monotonic() + OUTAGE_LIMIT
        while True:
            try:
                return await self._mailbox.done(
                    turn,
                    events=ending.events,
                    records=ending.records,
                    settings=self._engine,
                    take_next=not self._draining.is_set(),
                )
            except Fenced:
                return None
            except StoreError as error:
                if time.monotonic() > limit:
                    raise
                log.warning("run %s: end not written yet: %s", turn.run_id, error)
                await asyncio.sleep(RETRY_PAUSE)

    # ---- while turns run

    async def _renew(self) -> None:
        """Renew the leases of turns that outlive a quarter of one; hear what pub/sub may have
        lost."""
        pause = min(self._engine.lease_ms / 5000, LONGEST_RENEWAL)
        await asyncio.sleep(pause)
        now = time.monotonic()
        old = [r for r in self._running.values() if now - r.since > pause / 2]
        for running in old:
            ours, stop = await self._mailbox.renew(running.turn, self._engine)
            if not ours:
                running.control.stop("lost")
            elif stop:
                running.control.stop("user")

    async def _hear_cancels(self) -> None:
        pubsub = self._blocking.pubsub(ignore_subscribe_messages=True)
        async with pubsub:
            await pubsub.subscribe(keys.cancellations(), keys.settings_changed())
            await self._live.refresh()
            while True:
                message = cast("dict[str, Any] | None", await pubsub.get_message(timeout=None))
                if message is None or message["type"] != "message":
                    continue
                if message["channel"] == keys.settings_changed().encode():
                    await self._live.refresh()
                elif running := self._running.get(message["data"].decode()):
                    running.control.stop("user")

    async def _live_sign(self) -> None:
        now = int(time.time() * 1000)
        about = {"running": len(self._running), "turns": self._turns, "pid": os.getpid(), "at": now}
        async with self._store.redis.pipeline(transaction=False) as pipe:
            pipe.hset(keys.worker(self.name), mapping=cast("dict[Any, Any]", about))
            pipe.expire(keys.worker(self.name), WORKER_TTL)
            pipe.zadd(keys.workers(), {self.name: now})
            pipe.zremrangebyscore(keys.workers(), "-inf", now - WORKER_TTL * 1000)
            await pipe.execute()
        await asyncio.sleep(SIGN_OF_LIFE)


def plain_ending(code: str, detail: str, *, retryable: bool = True) -> tuple[Event, ...]:
    """Last events of a turn that was not run to its end."""
    if code == "cancelled":
        return (TurnFinished("cancelled"),)
    return (TurnFailed(code, detail, retryable), TurnFinished("failed"))
