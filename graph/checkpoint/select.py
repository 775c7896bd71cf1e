"""Which saver an installation uses, and what a turn does with it.

The two kinds keep their state in different keys, so a change would look like lost conversations:
the choice is written down at the first start, and another one later is refused.
"""

from __future__ import annotations

import importlib
from typing import Any, TypeAlias, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from redis.exceptions import ResponseError

from core.errors import ConfigError
from core.settings.groups import Settings
from core.store import keys
from core.store.reads import Found, Reading
from core.store.redis import RedisClient
from graph.checkpoint.saver import RedisSaver
from graph.checkpoint.turn import TurnSaver

Saver: TypeAlias = "BaseCheckpointSaver[Any]"

CORE = "core"
STACK_MODULE = "langgraph.checkpoint.redis.aio"
STACK_COMMANDS = {"RediSearch": ("FT._LIST",), "RedisJSON": ("JSON.GET", keys.installation())}
"""A harmless command of each module that ``redis-stack`` needs."""


async def open_saver(redis: RedisClient, settings: Settings) -> Saver:
    """The saver of ``store.checkpointer``. Raises ConfigError, RedisError."""
    chosen = settings.store.checkpointer
    name = keys.installation()
    check_choice(await redis.hget(name, "checkpointer"), chosen)
    saver = RedisSaver(redis) if chosen == CORE else await open_stack_saver(redis)
    await redis.hsetnx(name, "checkpointer", chosen)
    check_choice(await redis.hget(name, "checkpointer"), chosen)
    return saver


def check_choice(recorded: bytes | None, chosen: str) -> None:
    """Refuse a saver other than the one that wrote the state."""
    used = chosen if recorded is None else recorded.decode()
    if used != chosen:
        raise ConfigError(
            f"the conversations here were saved with store.checkpointer = {used}, and {chosen} "
            f"could not read them; set it back to {used}, or start on another ASSISTANT_HOME or "
            "REDIS_URL"
        )


async def open_stack_saver(redis: RedisClient) -> Saver:
    """LangChain's own saver for Redis 8 or Redis Stack. Raises ConfigError, RedisError."""
    try:
        module = importlib.import_module(STACK_MODULE)
    except ImportError as error:
        raise ConfigError(
            "store.checkpointer = redis-stack needs a package that is missing; "
            "run pip install 'modular-assistant[redis-stack]', or set store.checkpointer to core"
        ) from error
    await check_modules(redis)
    saver: Any = module.AsyncRedisSaver(redis_client=redis)
    await saver.asetup()
    return cast("Saver", saver)


async def check_modules(redis: RedisClient) -> None:
    """Refuse a server without the modules that redis-stack needs. Raises ConfigError."""
    for module, command in STACK_COMMANDS.items():
        try:
            await redis.execute_command(*command)
        except ResponseError as error:
            if "unknown command" not in str(error).lower():
                continue
            raise ConfigError(
                f"store.checkpointer = redis-stack needs {module}, which this server lacks; use "
                " Redis 8 or Redis Stack, or set store.checkpointer to core"
            ) from error


def for_turn(saver: Saver, *, epoch: int, ttl: int | None, found: Found | None = None) -> Saver:
    """The saver bound to a turn's fence and to the seconds that its thread is kept. ``found``
    is what ``state_reads`` brought.

    redis-stack knows neither: there only the lease keeps a stale worker out.
    """
    if not isinstance(saver, RedisSaver):
        return saver
    return TurnSaver.of(saver.fenced(epoch).with_ttl(ttl), found)


def state_reads(saver: Saver) -> tuple[Reading, ...]:
    """The read of a conversation's state that may travel with its claim; redis-stack has none."""
    return (saver.newest,) if isinstance(saver, RedisSaver) else ()


async def settle(saver: Saver) -> None:
    """Write what a turn's saver still holds back. Raises Fenced, StoreError."""
    if isinstance(saver, TurnSaver):
        await saver.flush()


async def trim(saver: Saver, thread_id: str, *, count: int) -> None:
    """Keep the newest checkpoints of a thread; redis-stack keeps all. Raises Fenced, StoreError."""
    if isinstance(saver, RedisSaver):
        await saver.keep_last(thread_id, count)


async def set_aside(saver: Saver, thread_id: str) -> None:
    """Take a thread's unreadable state out of the way. Raises Fenced, StoreError."""
    if isinstance(saver, RedisSaver):
        await saver.quarantine(thread_id)
    else:
        await saver.adelete_thread(thread_id)
