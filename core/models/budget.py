"""How many tokens may go to the cloud today; counted in Redis before they are sent."""

from __future__ import annotations

from datetime import UTC, datetime

from core.store import keys
from core.store.redis import RedisClient

KEPT_SECONDS = 40 * 24 * 3600


def today() -> str:
    """The day that is charged (UTC)."""
    return datetime.now(UTC).date().isoformat()


async def reserve(redis: RedisClient, day: str, tokens: int, limit: int) -> bool:
    """Set tokens aside if the day's limit allows it. A crash leaves them spent: the limit errs
    downwards."""
    if limit <= 0 or tokens > limit:
        return False
    key = keys.cloud_spend(day)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.incrby(key, tokens)
        pipe.expire(key, KEPT_SECONDS)
        spent: int = (await pipe.execute())[0]
    if spent > limit:
        await redis.decrby(key, tokens)
        return False
    return True


async def settle(redis: RedisClient, day: str, reserved: int, used: int) -> None:
    """Replace what was set aside by what was used."""
    await redis.incrby(keys.cloud_spend(day), used - reserved)


async def spent(redis: RedisClient, day: str) -> int:
    """Tokens spent or set aside on a day."""
    return int(await redis.get(keys.cloud_spend(day)) or 0)
