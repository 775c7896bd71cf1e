"""Users besides the administrator, for crowds."""

from __future__ import annotations

from core.accounts.accounts import ROLE
from core.accounts.api_keys import create_key
from core.store import keys
from core.store.redis import RedisClient


async def member_key(redis: RedisClient, name: str) -> str:
    """Make an account that may chat; the value is an API key of it."""
    await redis.hset(keys.account(name), ROLE, "member")
    _, secret = await create_key(redis, name, "benchmarks", "chat")
    return secret
