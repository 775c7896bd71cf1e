"""A worker: takes conversations, runs one turn at a time in each, drains.

Waking is a doorbell (a Redis list that workers block on) with a sweeper as backstop: a lost ring
costs a second, never a message. What must not be lost is in the inbox and the lease of the thread.

One user may hold ``engine.per_user`` places of a worker: a user who sends a hundred messages at
once waits for the rest, and others do not wait behind them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from core.conversations.inbox import BELL_SEPARATOR
from core.engine.mailbox import Busy, Mailbox, Turn
from core.engine.turns import GiveUp, Handler, Turns
from core.errors import Fenced, StoreError
from core.live_settings.live import LiveSettings
from core.settings.groups import EngineSettings
from core.store import keys, scripts
from core.store.client import Store
from core.store.reads import Reading
from core.store.redis import RedisClient

log = logging.getLogger(__name__)

SWEEP = 1.0
BLOCK = 5
ANSWER = 1.0
"""Seconds that the doorbell is waited for, and how late the answer "nobody rang" may be."""

SIGN_OF_LIFE = 5.0
WORKER_TTL = 15
STALE_AFTER = 5.0


@dataclass(eq=False)
class Places:
    """One user's places in this worker, and how many conversations hold or want one."""

    free: asyncio.Semaphore
    wanted: int = 0


class Worker:
    """One worker process."""

    def __init__(
        self,
        store: Store,
        blocking: RedisClient,
        live: LiveSettings,
        handler: Handler,
        give_up: GiveUp,
        *,
        name: str,
        about: Callable[[], Mapping[str, int]] = dict,
        reads: Sequence[Reading] = (),
    ) -> None:
        """``name``: one that no other process has had. ``about`` gives more figures for the sign of
        life; for ``reads`` see Mailbox. Its owner lets it hear cancellations, too."""
        self.name = name
        self._store = store
        self._blocking = blocking
        self._live = live
        self._mailbox = Mailbox(store, self.name, reads=reads)
        self.turns = Turns(self._mailbox, live, handler, give_up)
        self._active: dict[str, bool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stale: dict[tuple[str, bytes], float] = {}
        self._draining = asyncio.Event()
        self._about = about
        self._slots = asyncio.Semaphore(self._engine.concurrency)
        self._places: dict[str, Places] = {}

    @property
    def _engine(self) -> EngineSettings:
        return self._live.current.engine

    def stuck_seconds(self) -> float:
        """How long one step may hold up all others."""
        return self._engine.stuck_seconds

    async def run(self) -> None:
        """Work until ``drain`` is called. Ends when every turn is finished or handed over."""
        loops = [
            asyncio.create_task(self._forever(loop), name=loop.__name__)
            for loop in (
                self._answer_bell,
                self._sweep,
                self.turns.renew,
                self._live_sign,
            )
        ]
        asked = asyncio.create_task(self._draining.wait())
        # A loop ends only by an error of ours: better a new process than one that is half dead.
        await asyncio.wait([asked, *loops], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        broken = [task for task in loops if task.done()]
        self.drain()
        loops[0].cancel()
        loops[1].cancel()
        await self._finish_turns()
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await self._leave()
        for task in broken:
            task.result()

    def drain(self) -> None:
        """Take no more turns; finish the running ones within drain_seconds or hand them over."""
        self.turns.draining = True
        self._draining.set()

    async def _finish_turns(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._engine.drain_seconds)
        self.turns.hand_over()
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
        # Longer than Redis waits: a connection whose other end has gone never answers.
        async with asyncio.timeout(BLOCK + ANSWER):
            reply = await self._blocking.blpop([keys.doorbell()], BLOCK)
        if reply is None:
            return
        thread_id, _, user_id = reply[1].decode(errors="replace").partition(BELL_SEPARATOR)
        self._visit(thread_id, user_id)

    async def _sweep(self) -> None:
        """Visit threads that have work and nobody who does it; forget those that have none."""
        await asyncio.sleep(SWEEP * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        rows = await self._store.retry(lambda: self._store.redis.hgetall(keys.pending()))
        threads = {tid.decode(errors="replace"): last for tid, last in rows.items()}
        waiting = [(tid, last) for tid, last in threads.items() if tid not in self._active]
        if not waiting:
            self._stale.clear()
            return
        states = await self._states([tid for tid, _ in waiting])
        stale: dict[tuple[str, bytes], float] = {}
        for (thread_id, last), (left, length, user) in zip(waiting, states, strict=True):
            # A lease that lasts longer than one can was made before the clock of Redis went back.
            leased = 0 <= left <= self._engine.lease_ms
            if length and not leased and not self._slots.locked():
                self._visit(thread_id, (user or b"").decode(errors="replace"))
            elif not length:
                since = stale[thread_id, last] = self._stale.get(
                    (thread_id, last), time.monotonic()
                )
                if time.monotonic() - since > STALE_AFTER:
                    settle = scripts.settle(pending=keys.pending(), thread=thread_id, message=last)
                    await self._store.script(settle)
        self._stale = stale

    async def _states(self, thread_ids: list[str]) -> list[tuple[int, int, bytes | None]]:
        """Of each thread: milliseconds left of its lease, how many messages wait, whose it is."""

        async def send() -> list[Any]:
            async with self._store.redis.pipeline(transaction=False) as pipe:
                for thread_id in thread_ids:
                    pipe.pttl(keys.lease(thread_id))
                    pipe.xlen(keys.inbox(thread_id))
                    pipe.hget(keys.meta(thread_id), "user")
                return await pipe.execute()

        flat = await self._store.retry(send)
        return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))

    def _visit(self, thread_id: str, user_id: str) -> None:
        """See to a thread, or note that its visitor must look once more before leaving."""
        if thread_id in self._active:
            self._active[thread_id] = True
            return
        self._active[thread_id] = False
        task = asyncio.create_task(self._converse(thread_id, user_id), name=f"thread {thread_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def _place(self, user_id: str) -> AsyncGenerator[None]:
        """A place for one conversation: first among the user's, then among all."""
        places = self._places.setdefault(user_id, Places(asyncio.Semaphore(self._engine.per_user)))
        places.wanted += 1
        try:
            async with places.free, self._slots:
                yield
        finally:
            places.wanted -= 1
            if places.wanted == 0:
                del self._places[user_id]

    async def _converse(self, thread_id: str, user_id: str) -> None:
        """Run turns of the thread until its inbox is empty or another worker has it."""
        async with self._place(user_id):
            try:
                # Looked at first too: a conversation may have waited for its slot until the drain.
                while not self._draining.is_set():
                    self._active[thread_id] = False
                    await self._drain_inbox(thread_id, user_id)
                    if not self._active[thread_id]:
                        return
            except Fenced as error:
                log.info("thread %s: %s", thread_id, error)
            except StoreError as error:
                log.warning("thread %s: %s; the sweeper comes back to it", thread_id, error)
            except Exception:  # boundary of a conversation: the message stays for the sweeper
                log.exception("thread %s: unexpected error", thread_id)
            finally:
                del self._active[thread_id]

    async def _drain_inbox(self, thread_id: str, user_id: str) -> None:
        outcome = await self._mailbox.claim(thread_id, self._engine, user_id=user_id)
        while isinstance(outcome, Turn):
            outcome = await self.turns.take(outcome)
        if isinstance(outcome, Busy):
            log.debug("thread %s is busy for %d ms", thread_id, outcome.milliseconds)

    # ---- while turns run

    async def hear_cancellation(self, run_id: str | None) -> None:
        """Stop a run, if it is here; a listener of ``keys.cancellations()``. One that is missed
        stands in the thread's cancel flag, which the renewal of the lease looks at."""
        if run_id is not None:
            self.turns.stop(run_id, "user")

    async def _live_sign(self) -> None:
        now = int(time.time() * 1000)
        about = {
            "running": len(self.turns.running),
            "turns": self.turns.count,
            "pid": os.getpid(),
            "at": now,
            **self._about(),
        }
        async with self._store.redis.pipeline(transaction=False) as pipe:
            pipe.hset(keys.worker(self.name), mapping=about)
            pipe.expire(keys.worker(self.name), WORKER_TTL)
            pipe.zadd(keys.workers(), {self.name: now})
            pipe.zremrangebyscore(keys.workers(), "-inf", now - WORKER_TTL * 1000)
            await pipe.execute()
        await asyncio.sleep(SIGN_OF_LIFE)
