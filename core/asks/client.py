"""The side that asks.

A question is stored under a key that expires at its deadline, and its id goes into a list on which
the workers block. The answer comes in a list of its own. No clocks are compared, and nothing stays
behind. Every question may be answered twice: after half of its time it is asked again, so that a
worker that dies while it answers costs the asker time but not the answer.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

import orjson
from redis.exceptions import RedisError

from core.errors import AssistantError, RateLimited, TooLarge
from core.events import Json
from core.ids import new_id
from core.store import keys
from core.store.client import Store
from core.store.errors import translate
from core.store.redis import RedisClient

DEADLINE = 5.0
"""Seconds for an answer, if the caller says nothing else."""

MAX_QUESTION = 64 * 1024
"""Bytes of JSON."""

AT_ONCE = 32
"""Questions of one process that may wait at once: each holds a connection to Redis."""

WORKER_SILENT_MS = 12_000
"""A worker without a sign of life for so long does not count."""

LATE = 2
"""Seconds that Redis waits longer than we do."""


class NoAnswer(AssistantError):
    """No worker answered in time."""

    code = "no_answer"
    status = 503
    retryable = True


class NoWorker(NoAnswer):
    """No worker runs that could answer."""

    code = "no_worker"


class Refused(AssistantError):
    """The worker answered with an error; ``code``, ``status`` and ``detail`` are the worker's."""

    def __init__(self, detail: str, *, code: str, status: int, retryable: bool) -> None:
        super().__init__(detail, code=code)
        self.status = status
        self.retryable = retryable


class Asks:
    """Asks the workers; one per process."""

    def __init__(self, store: Store, blocking: RedisClient) -> None:
        self._store = store
        self._blocking = blocking
        self._waiting = 0

    async def ask(self, name: str, argument: Json = None, *, deadline: float = DEADLINE) -> Json:
        """The answer of one worker to a question by name.

        ``deadline`` is in seconds. Raises NoWorker, NoAnswer (the deadline has passed), Refused
        (what the worker could not do), TooLarge (the question), RateLimited (too many questions at
        once), StoreError.
        """
        question = orjson.dumps([name, argument])
        if len(question) > MAX_QUESTION:
            raise TooLarge(f"a question to the worker has at most {MAX_QUESTION // 1024} KiB")
        if self._waiting >= AT_ONCE:
            raise RateLimited("too many requests wait for the worker; try again in a moment")
        self._waiting += 1
        try:
            return await self._ask(new_id("q"), question, deadline)
        finally:
            self._waiting -= 1

    async def _ask(self, ask_id: str, question: bytes, deadline: float) -> Json:
        end = asyncio.get_running_loop().time() + deadline
        await self._store.retry(lambda: self._send(ask_id, question, deadline))
        raw = await self._answer(ask_id, deadline / 2)
        if raw is None:
            left = end - asyncio.get_running_loop().time()
            await self._store.retry(lambda: self._send(ask_id, question, left))
            raw = await self._answer(ask_id, left)
        if raw is None:
            raise NoAnswer(f"no worker answered within {deadline:g} s; try again, or see `doctor`")
        return _opened(raw)

    async def _send(self, ask_id: str, question: bytes, seconds: float) -> None:
        """Store the question and ring. Safe to repeat. Raises NoWorker, RedisError."""
        now = int(time.time() * 1000)
        async with self._store.redis.pipeline(transaction=True) as pipe:
            pipe.zcount(keys.workers(), now - WORKER_SILENT_MS, "+inf")
            pipe.set(keys.ask(ask_id), question, px=max(int(seconds * 1000), 1))
            pipe.rpush(keys.asks(), ask_id)
            # A list that nobody empties must not grow for ever.
            pipe.pexpire(keys.asks(), max(int(seconds * 1000), 1))
            workers, *_ = await pipe.execute()
        if not workers:
            raise NoWorker("no worker is running; start one with `assistant worker`")

    async def _answer(self, ask_id: str, seconds: float) -> bytes | None:
        """What came within so many seconds. Raises StoreError."""
        try:
            # Redis looks at its own limit now and then only, so ours ends the wait. An answer that
            # is under way in that moment is lost, and asked for again.
            async with asyncio.timeout(seconds):
                reply = await self._blocking.blpop([keys.answer(ask_id)], int(seconds) + LATE)
        except TimeoutError:
            return None
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return None if reply is None else reply[1]


def _opened(raw: bytes) -> Json:
    """The answer, or the worker's error as one of ours."""
    data = cast("dict[str, Json]", orjson.loads(raw))
    if (error := cast("dict[str, Json] | None", data.get("error"))) is None:
        return data["answer"]
    raise Refused(
        str(error["detail"]),
        code=str(error["code"]),
        status=int(cast("int", error["status"])),
        retryable=bool(error["retryable"]),
    )
