"""Brings the state of an older version up to the format of this one, once, before anybody uses it.

A change of what stands in Redis that an older version could not read, or that this one could not
read from an older version, raises ``core.store.opening.STATE_FORMAT`` and adds a line to
``MIGRATIONS``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from core.errors import ConfigError
from core.store import keys
from core.store.exclusive import exclusive, running_processes
from core.store.redis import RedisClient

log = logging.getLogger(__name__)

FORMAT_FIELD = "format"
POLL = 0.1
PATIENCE = 3600.0
"""Seconds to wait for another process that migrates."""

Step = Callable[[RedisClient], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. ``run`` must be safe to repeat: a process may die in the middle of it."""

    to: int
    about: str
    run: Step


async def _administrator_is_an_account(redis: RedisClient) -> None:
    """Format 1 knew one administrator, who was no account. Names are spelled out here: a step must
    not follow names that change later."""
    former, account = "asst:auth:owner", "asst:u:{owner}:account"
    row = await redis.hgetall(former)
    if not row:  # never set up, or done already
        return
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(account, mapping={b"role": b"admin", **row})
        pipe.delete(former)
        await pipe.execute()


MIGRATIONS: tuple[Migration, ...] = (
    Migration(2, "the administrator becomes an account", _administrator_is_an_account),
)
"""In order, one for each format after the first."""


async def stored_format(redis: RedisClient) -> int | None:
    """Format of the state, None when there is none."""
    name = keys.installation()
    found = await redis.hget(name, FORMAT_FIELD)
    return None if found is None else int(found)


async def migrate(
    redis: RedisClient, *, target: int, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Return once the state has the target format; one process does the work, others wait.

    Raises ConfigError when older processes still run or no step is known, RedisError.
    """
    waited = 0.0
    while (found := await stored_format(redis)) is not None and found < target:
        async with exclusive(redis) as ours:
            if ours:
                await _run(redis, target, migrations)
                continue
        if waited == 0:
            log.info("another process brings the stored state up to date; waiting for it")
        if waited > PATIENCE:
            raise ConfigError("the stored state is still being brought up to date; try again later")
        await asyncio.sleep(POLL)
        waited += POLL


async def _run(redis: RedisClient, target: int, migrations: Sequence[Migration]) -> None:
    """All steps that are missing. Looked at again: another process may have been faster."""
    current = await stored_format(redis) or 0
    steps = [step for step in migrations if current < step.to <= target]
    if [step.to for step in steps] != list(range(current + 1, target + 1)):
        raise ConfigError(
            f"the stored state has format {current} and this version, which uses {target}, knows "
            "no way from there; start a version in between first"
        )
    if steps and await running_processes(redis):
        raise ConfigError(
            "processes of an older version still use this store; stop them all, then start again"
        )
    for step in steps:
        log.info("bringing the stored state to format %d: %s", step.to, step.about)
        await step.run(redis)
        await redis.hset(keys.installation(), FORMAT_FIELD, str(step.to))
