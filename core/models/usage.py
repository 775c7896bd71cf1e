"""Counts tokens per thread and per user and day.

One call is counted once, when it ends, in one command. There is no key per call, so a call that
runs again after a crash counts again; that is also the truth, for the model worked twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

from core.events import Usage
from core.store import keys, scripts
from core.store.client import Store
from core.store.redis import RedisClient

DAY_KEPT_SECONDS = 400 * 24 * 3600
ORPHAN_SECONDS = 24 * 3600
"""For counts of a thread that was deleted while its call ended."""


async def record(
    store: Store, usage: Usage, *, user_id: str, thread_id: str, cloud: bool = False
) -> None:
    """Add one call. Fields: calls, prompt_tokens, completion_tokens, estimated_calls,
    cloud_tokens. Raises RedisError, OSError."""
    counts = {
        "calls": 1,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "estimated_calls": int(usage.estimated),
        "cloud_tokens": usage.prompt_tokens + usage.completion_tokens if cloud else 0,
    }
    call = scripts.count(
        meta=keys.meta(thread_id),
        of_thread=keys.usage_thread(thread_id),
        of_day=keys.usage_day(user_id, datetime.now(UTC).date().isoformat()),
        orphan_seconds=ORPHAN_SECONDS,
        day_seconds=DAY_KEPT_SECONDS,
        counts=[word for name, count in counts.items() if count for word in (name, count)],
    )
    await store.script_once(call)


async def of_thread(redis: RedisClient, thread_id: str) -> dict[str, int]:
    """Counts of a thread."""
    return _numbers(await redis.hgetall(keys.usage_thread(thread_id)))


async def of_day(redis: RedisClient, user_id: str, day: date) -> dict[str, int]:
    """Counts of a user on one day (UTC)."""
    return _numbers(await redis.hgetall(keys.usage_day(user_id, day.isoformat())))


def _numbers(raw: Mapping[bytes, bytes]) -> dict[str, int]:
    return {name.decode(): int(count) for name, count in raw.items()}
