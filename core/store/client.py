"""The one connection policy for Redis, Valkey and the embedded server.

The client itself never retries: a blind retry applies a write twice when only the reply was lost.
``Store.retry`` repeats calls that are idempotent by construction (reads, and scripts that carry an
id, a sequence number or an epoch), within a deadline so that every caller has an answer within 3
seconds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    NoScriptError,
    RedisError,
    TimeoutError,
)

from core.metrics import REDIS_RETRIES
from core.store.calling import Arg, Call, Scripts
from core.store.errors import translate, wrong_password
from core.store.redis import RedisClient

T = TypeVar("T")
DEADLINE = 2.8
"""Seconds in which ``Store.retry`` gives up, a little under the promised 3."""

LATE = 0.25
"""Seconds from which a call counts as one that waited for Redis."""


@dataclass
class Patience:
    """Seconds that a caller may still wait for a Redis that does not answer, over all its calls."""

    left: float = DEADLINE


PATIENCE: ContextVar[Patience | None] = ContextVar("patience", default=None)
"""Set for the calls of one request, so that two slow ones do not take twice the time."""


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One call of a script: its digest and text, then the number of keys, keys, arguments."""

    digest: str
    body: str
    rest: tuple[Arg, ...]


Command: TypeAlias = tuple[Arg, ...]
"""A command of Redis: its name, its arguments."""

Sent: TypeAlias = ScriptCall | Command
"""What may travel with others."""


class Store:
    """A Redis client with our scripts and our retry rule."""

    def __init__(self, redis: RedisClient, scripts: Scripts) -> None:
        self.redis = redis
        self._scripts = scripts

    async def script(self, call: Call, *, deadline: float = DEADLINE) -> Any:
        """Run one of our scripts, retried. Every script is safe to repeat. Raises StoreError,
        Fenced."""
        return await self.retry(lambda: self.script_once(call), deadline=deadline)

    async def script_once(self, call: Call) -> Any:
        """Run a script without retry. Raises RedisError."""
        execute = self.redis.execute_command
        script, words = self._scripts[call[0]], call[1:]
        try:
            return await execute("EVALSHA", script.digest, *words)
        except NoScriptError:
            return await execute("EVAL", script.body, *words)

    def call(self, call: Call) -> ScriptCall:
        """A script with its keys and arguments, to be run among others."""
        script = self._scripts[call[0]]
        return ScriptCall(script.digest, script.body, call[1:])

    async def several_once(self, calls: Sequence[Sent]) -> list[Any]:
        """Run scripts and commands one after another in one round trip, without retry. A reply may
        be the error of its call. Raises RedisError where nothing came back."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for call in calls:
                if isinstance(call, ScriptCall):
                    pipe.execute_command("EVALSHA", call.digest, *call.rest)
                else:
                    pipe.execute_command(*call)
            replies = await pipe.execute(raise_on_error=False)
        if not any(isinstance(reply, NoScriptError) for reply in replies):
            return replies
        # A restarted server knows no scripts; so that the order stays, all of them again.
        async with self.redis.pipeline(transaction=False) as pipe:
            for call in calls:
                if isinstance(call, ScriptCall):
                    pipe.execute_command("EVAL", call.body, *call.rest)
                else:
                    pipe.execute_command(*call)
            return await pipe.execute(raise_on_error=False)

    async def retry(self, call: Callable[[], Awaitable[T]], *, deadline: float = DEADLINE) -> T:
        """Await ``call()`` until it succeeds or the deadline passes. Only for idempotent calls.

        Raises StoreError (translated) or Fenced.
        """
        patience = PATIENCE.get()
        if patience is None:
            return await self._retry(call, deadline)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._retry(call, min(deadline, max(patience.left, LATE)))
        finally:
            waited = loop.time() - began
            patience.left -= waited if waited > LATE else 0

    async def _retry(self, call: Callable[[], Awaitable[T]], deadline: float) -> T:
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline
        pause = 0.02
        while True:
            try:
                # Not wait_for: before Python 3.12 it swallows a cancellation now and then.
                async with asyncio.timeout(max(end - loop.time(), 0.05)):
                    return await call()
            except (
                ConnectionError,
                TimeoutError,
                BusyLoadingError,
                ClusterDownError,
                OSError,
            ) as error:
                if wrong_password(error) or loop.time() + pause >= end:
                    raise translate(error) from error
                REDIS_RETRIES.labels(type(error).__name__).inc()
                await self._drop_idle()
            except RedisError as error:
                raise translate(error) from error
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
            pause = min(pause * 2, 0.5)

    async def _drop_idle(self) -> None:
        """Close the connections that nobody uses now: when one has died they all may have, some
        without a word, and each would cost a caller its time."""
        pool = self.redis.connection_pool
        # The pool's own disconnect() waits in between, while others take what it is closing.
        idle = cast("list[AbstractConnection]", getattr(pool, "_available_connections", ()))
        for connection in tuple(idle):
            await connection.disconnect(nowait=True)
