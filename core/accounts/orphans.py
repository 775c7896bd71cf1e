"""Sessions and API keys that no account's list names: no list would show them, so they open nothing
and are deleted where they are met."""

from __future__ import annotations

import logging

from core.accounts.credentials import end_credentials, read_fields
from core.store import keys
from core.store.redis import RedisClient

log = logging.getLogger(__name__)

SCAN_COUNT = 1000
NEEDED = frozenset(("id", "user", "name", "prefix", "scope", "created_at", "used_at", "expires_at"))
"""Fields of an API key."""


async def drop_orphans(redis: RedisClient) -> int:
    """Delete API keys and sessions that no list names; how many there were. Safe to repeat.

    Raises RedisError.
    """
    count = 0
    for start, is_named in (
        (keys.api_key(""), _key_is_named),
        (keys.session(""), _session_is_named),
    ):
        async for raw in redis.scan_iter(match=f"{start}*", count=SCAN_COUNT):
            name = raw.decode(errors="surrogateescape")
            hashed = name.removeprefix(start)
            if await redis.type(name) != b"hash" or not await is_named(redis, name, hashed):
                await end_credentials(redis, [name], [hashed])
                count += 1
    if count:
        log.warning("%d sessions or API keys that no list names were deleted", count)
    return count


async def _key_is_named(redis: RedisClient, name: str, hashed: str) -> bool:
    fields = await read_fields(redis, name)
    if not fields.keys() >= NEEDED:
        return False
    index = keys.api_keys(fields["user"])
    if await redis.type(index) != b"hash":
        return False
    return await redis.hget(index, fields["id"]) == hashed.encode()


async def _session_is_named(redis: RedisClient, name: str, hashed: str) -> bool:
    index = keys.sessions((await read_fields(redis, name)).get("user", ""))
    return await redis.type(index) == b"set" and bool(await redis.sismember(index, hashed))
