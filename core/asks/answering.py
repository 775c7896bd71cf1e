"""The side that answers."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import orjson
from redis.exceptions import RedisError

from core.errors import AssistantError, ConfigError, NotFound, StoreError, TooLarge
from core.events import Json
from core.store import keys
from core.store.client import Store
from core.store.redis import RedisClient

log = logging.getLogger(__name__)

MAX_ANSWER = 1024 * 1024
"""Bytes of JSON."""

AT_ONCE = 16
"""Questions that one worker answers at once; further ones wait for it or for another worker."""

BLOCK = 15
LATE = 1.0
"""Seconds that a worker waits for a question, and how late "there was none" may come. Each look
costs an idle worker as much as a tick of its own; with 5 seconds it was a tenth of its rest."""

ANSWER_KEPT_MS = 10_000
"""How long an answer waits for an asker that is slow, or that has gone."""

PAUSE = 1.0
"""Seconds between tries while Redis is away."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question that workers answer.

    ``answer`` gets the argument of the question and may run twice at once: it must change nothing.
    It raises AssistantError for what the asker must hear.
    """

    name: str
    answer: Callable[[Json], Awaitable[Json]]


class Answers:
    """Answers the questions of one list; one per worker."""

    def __init__(self, store: Store, blocking: RedisClient, asks: Sequence[Ask]) -> None:
        """Raises ConfigError when two questions have one name."""
        self._store = store
        self._blocking = blocking
        self._asks = {ask.name: ask for ask in asks}
        if len(self._asks) != len(asks):
            names = [ask.name for ask in asks]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ConfigError(f"two questions to workers have the same name: {', '.join(twice)}")
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until cancelled."""
        told = False
        while True:
            try:
                await self._take_one()
                told = False
            except (RedisError, StoreError, OSError) as error:
                if not told:
                    log.warning("questions are not heard: %s; trying again", error)
                told = True
                await asyncio.sleep(PAUSE)

    async def _take_one(self) -> None:
        await self._places.acquire()
        reply = None
        try:
            # Longer than Redis waits: a connection whose other end has gone never answers.
            async with asyncio.timeout(BLOCK + LATE):
                reply = await self._blocking.blpop([keys.asks()], BLOCK)
        finally:
            if reply is None:
                self._places.release()
        if reply is not None:
            # The place goes on to the answer, so that the next look at the list cannot take it
            # away.
            task = asyncio.create_task(self._serve(reply[1].decode()), name="answer")
            self._tasks.add(task)
            task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()

    async def _serve(self, ask_id: str) -> None:
        try:
            question, left = await self._store.retry(lambda: self._question(ask_id))
            if question is None:
                return  # its time is over: nobody waits for an answer
            answer = await self._answered(question, left / 1000)
            await self._store.retry(lambda: self._reply(ask_id, answer))
        except StoreError as error:
            log.warning("a question was not answered: %s", error)

    async def _question(self, ask_id: str) -> tuple[bytes | None, int]:
        """The question and the milliseconds that are left for it."""
        async with self._store.redis.pipeline(transaction=True) as pipe:
            pipe.get(keys.ask(ask_id))
            pipe.pttl(keys.ask(ask_id))
            question, left = await pipe.execute()
        return question, left

    async def _answered(self, question: bytes, seconds: float) -> bytes:
        """The answer or the error, as JSON that is not too large."""
        name, argument = cast("tuple[str, Json]", tuple(orjson.loads(question)))
        try:
            if name not in self._asks:
                raise NotFound(f"this worker does not know the question {name!r}")
            async with asyncio.timeout(max(seconds, 0)):
                answer = await self._asks[name].answer(argument)
            data = orjson.dumps({"answer": answer})
            if len(data) > MAX_ANSWER:
                raise TooLarge(f"the answer to {name!r} has more than {MAX_ANSWER // 1024} KiB")
        except AssistantError as error:
            return _error(error.code, error.status, error.detail, retryable=error.retryable)
        except TimeoutError:
            return _error("no_answer", 503, f"{name!r} took too long", retryable=True)
        except Exception:  # boundary of a question: the asker gets an error, the log the traceback
            number = secrets.token_hex(4)
            log.exception("question %s failed (error %s)", name, number)
            detail = f"something went wrong inside the worker (error {number} in the log)"
            return _error("internal", 500, detail, retryable=True)
        return data

    async def _reply(self, ask_id: str, answer: bytes) -> None:
        """Hand the answer over. A second answer to one question is never read and expires."""
        name = keys.answer(ask_id)
        async with self._store.redis.pipeline(transaction=True) as pipe:
            pipe.delete(name)
            pipe.rpush(name, answer)
            pipe.pexpire(name, ANSWER_KEPT_MS)
            pipe.delete(keys.ask(ask_id))
            await pipe.execute()

    async def aclose(self) -> None:
        """Stop the answers that are under way; their askers ask another worker."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _error(code: str, status: int, detail: str, *, retryable: bool) -> bytes:
    about = {"code": code, "status": status, "detail": detail, "retryable": retryable}
    return orjson.dumps({"error": about})


@asynccontextmanager
async def answering(
    store: Store, blocking: RedisClient, asks: Sequence[Ask], *, broken: Callable[[], None]
) -> AsyncGenerator[None]:
    """Answer questions until the end of the block. ``broken`` is called when that fails."""
    answers = Answers(store, blocking, asks)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.critical("questions are not answered any more", exc_info=task.exception())
            broken()

    task = asyncio.create_task(answers.run(), name="answers")
    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.remove_done_callback(ended)
        task.cancel()
        await asyncio.wait([task])
        await answers.aclose()
