"""The one connection policy for Redis, Valkey and the embedded server.

The client itself never retries: a blind retry applies a write twice when only the reply was lost.
``Store.retry`` repeats calls that are idempotent by construction (reads, and scripts that carry an
id,
a sequence number or an epoch), within a deadline so that every caller has an answer within 3
seconds.
"""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MaxConnectionsError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from core import keys
from core.errors import ConfigError, Fenced, StoreError, StoreFull, StoreTooOld, StoreUnavailable
from core.metrics import REDIS_RETRIES
from core.migrations import FORMAT_FIELD, migrate

T = TypeVar("T")
Arg = str | bytes | int | float

SCRIPT_FOLDER = Path(__file__).parent / "lua"
STATE_FORMAT = 1
"""Version of everything we keep in Redis; a newer one is refused."""

RESTORING_FIELD = "restoring"
"""Of the installation: since when a restore is at work. Nothing else may use the state then."""

SOCKET_TIMEOUT = 1.5
DEADLINE = 2.8
"""Seconds in which ``Store.retry`` gives up, a little under the promised 3."""

LATE = 0.25
"""Seconds from which a call counts as one that waited for Redis."""

MAX_CONNECTIONS = 500
PASSWORD_SIGNS = ("NOAUTH", "WRONGPASS", "Authentication required", "invalid username-password")
OLDEST = (6, 2)


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


class Store:
    """A Redis client with our scripts and our retry rule."""

    def __init__(self, redis: Redis, scripts: dict[str, str]) -> None:
        self.redis = redis
        self._bodies = scripts
        self._digests = {
            name: hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()
            for name, body in scripts.items()
        }

    async def script(
        self, name: str, names: Sequence[str], args: Sequence[Arg], *, deadline: float = DEADLINE
    ) -> Any:
        """Run one of our scripts, retried. Every script is safe to repeat. Raises StoreError,
        Fenced."""
        return await self.retry(lambda: self.script_once(name, names, args), deadline=deadline)

    async def script_once(self, name: str, names: Sequence[str], args: Sequence[Arg]) -> Any:
        """Run a script without retry. Raises RedisError."""
        execute = cast("Callable[..., Awaitable[Any]]", self.redis.execute_command)
        try:
            return await execute("EVALSHA", self._digests[name], len(names), *names, *args)
        except NoScriptError:
            return await execute("EVAL", self._bodies[name], len(names), *names, *args)

    def call(self, name: str, names: Sequence[str], args: Sequence[Arg] = ()) -> ScriptCall:
        """A script with its keys and arguments, to be run among others."""
        return ScriptCall(self._digests[name], self._bodies[name], (len(names), *names, *args))

    async def several_once(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run scripts one after another in one round trip, without retry. A reply may be the error
        of its call. Raises RedisError where nothing came back."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.execute_command("EVALSHA", call.digest, *call.rest)
            replies = await pipe.execute(raise_on_error=False)
        if not any(isinstance(reply, NoScriptError) for reply in replies):
            return replies
        # A restarted server knows no scripts; so that the order stays, all of them again.
        async with self.redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.execute_command("EVAL", call.body, *call.rest)
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
                if _wrong_password(error) or loop.time() + pause >= end:
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


def _wrong_password(error: BaseException) -> bool:
    """While it connects, redis-py turns the refusal into a ConnectionError without its code."""
    text = str(error)
    return isinstance(error, AuthenticationError) or any(sign in text for sign in PASSWORD_SIGNS)


def translate(error: BaseException) -> StoreError | Fenced:
    """Our error for a Redis error, in words that say what to do."""
    text = str(error)
    if "FENCED" in text:
        return Fenced("another worker has taken this conversation over")
    if _wrong_password(error):
        return StoreError("Redis refuses the password; correct it in REDIS_URL")
    if isinstance(error, OutOfMemoryError) or text.startswith("OOM"):
        return StoreFull(
            "Redis is out of memory (maxmemory reached); give it more memory, then try again"
        )
    if isinstance(error, ReadOnlyError) or "READONLY" in text:
        return StoreFull(
            "Redis is read-only (a replica); point REDIS_URL to the primary", "read_only"
        )
    if "MISCONF" in text or "No space left" in text:
        return StoreFull(
            "Redis cannot write to its disk; free some space, it recovers by itself", "disk"
        )
    if isinstance(error, MaxConnectionsError):
        return StoreUnavailable("too many connections to Redis are in use; try again in a moment")
    if isinstance(error, ResponseError):
        return StoreError(f"Redis refuses a command: {text}")
    return StoreUnavailable("Redis does not answer; it is tried again, see `doctor` if this lasts")


def read_scripts(folder: Path = SCRIPT_FOLDER) -> dict[str, str]:
    """The Lua scripts by file name without ending, each with the prelude in front."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.lua"))}
    prelude = texts.pop("_prelude")
    return {name: prelude + text for name, text in texts.items()}


# Its stub allows tuples of one only.
_packed = cast("Callable[[tuple[object, ...]], bytes]", hiredis.pack_command)


class _PromptConnection(AbstractConnection):
    """Sends without ``asyncio.wait_for``, which before Python 3.12 swallows a cancellation now and
    then (a turn would not stop, a worker not end) and costs a task for each command. Packs in C, as
    redis-py's synchronous connections do."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name = args[0]
        # "CLIENT SETINFO" and its like are two words on the wire.
        words = (name.encode() if isinstance(name, str) else name).split()
        try:
            return [_packed((*words, *args[1:]))]
        except TypeError:
            return super().pack_command(*args)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(command, check_health)
        except builtins.TimeoutError as error:
            raise TimeoutError("Timeout writing to socket") from error
        finally:
            self.socket_timeout = limit


def connect(url: str, *, blocking: bool = False) -> Redis:
    """A client for the URL. ``blocking`` ones have no socket timeout: for BLPOP and pub/sub."""
    pool = ConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        socket_timeout=None if blocking else SOCKET_TIMEOUT,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=False,
    )
    kind = pool.connection_class
    pool.connection_class = type(f"Prompt{kind.__name__}", (_PromptConnection, kind), {})
    return Redis.from_pool(pool)


@asynccontextmanager
async def open_store(url: str) -> AsyncGenerator[Store]:
    """Connect, check the server, bring the state to our format, close at the end.

    Raises StoreError, ConfigError.
    """
    async with open_untouched_store(url, blocking=False) as store:
        name = keys.installation()
        await store.retry(lambda: store.redis.hsetnx(name, FORMAT_FIELD, str(STATE_FORMAT)))
        try:
            await migrate(store.redis, target=STATE_FORMAT)
        except RedisError as error:
            raise translate(error) from error
        yield store


@asynccontextmanager
async def open_untouched_store(
    url: str, *, blocking: bool = True, half_restored: bool = False
) -> AsyncGenerator[Store]:
    """The same without a change to the state, whatever its format; ``half_restored`` allows a
    restore that did not finish. Raises StoreError, ConfigError."""
    redis = connect(url, blocking=blocking)
    store = Store(redis, read_scripts())
    try:
        await check_server(store)
        await check_state(store, half_restored=half_restored)
        yield store
    finally:
        await redis.aclose()


async def check_server(store: Store) -> None:
    """Refuse servers that are too old or a cluster."""
    info = await store.retry(lambda: store.redis.info("server"))
    version = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise StoreTooOld(f"this is Redis {version}; 6.2 or newer is needed (or any Valkey)")
    if is_cluster(info):
        raise ConfigError(
            "REDIS_URL points to a Redis Cluster; use a single or Sentinel-managed server"
        )


def is_cluster(info: Mapping[str, Any]) -> bool:
    """Whether INFO is of a node of a cluster. Valkey and Redis name the field differently."""
    return "cluster" in (info.get("server_mode"), info.get("redis_mode"))


async def check_state(store: Store, *, half_restored: bool = False) -> None:
    """Refuse state that a newer version of us wrote, or that a restore left half done."""
    name = keys.installation()
    found, restoring = await store.retry(
        lambda: cast(
            "Awaitable[list[bytes | None]]",
            store.redis.hmget(name, FORMAT_FIELD, RESTORING_FIELD),
        )
    )
    if restoring is not None and not half_restored:
        raise ConfigError(
            f"a restore that began at {restoring.decode()} did not finish; "
            "run `assistant restore FILE` again"
        )
    if found is not None and int(found) > STATE_FORMAT:
        raise ConfigError(
            f"the stored state has format {int(found)}, this version knows {STATE_FORMAT}; "
            "install the newer version again, or start on another ASSISTANT_HOME or REDIS_URL"
        )
