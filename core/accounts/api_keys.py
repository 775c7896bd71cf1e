"""API keys: `ak_` and 256 random bits, shown once, kept in Redis as hashes."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from core.accounts.accounts import FIRST_ACCOUNT, SCOPES
from core.accounts.credentials import (
    LiveCredential,
    as_text,
    digest,
    end_credentials,
    moment,
    now,
    read_fields,
    read_with_role,
)
from core.accounts.principal import CHAT, EVERYTHING, V1, Principal, Scope
from core.errors import Invalid
from core.store import keys
from core.store.client import Store
from core.store.redis import RedisClient

PREFIX = "ak_"
KEY_LENGTH = len(PREFIX) + 43
SHOWN = 8
"""Characters of a key that lists show, so that people can tell keys apart."""

OF_SCOPE = {"admin": EVERYTHING, "chat": CHAT, "v1": V1}

MAX_NAME = 100
SHORTEST_LIFE = timedelta(minutes=1)


async def create_key(
    redis: RedisClient, user_id: str, name: str, scope: Scope, *, expires_at: datetime | None = None
) -> tuple[str, str]:
    """Make a key: ``(id, secret)``. Nobody can read the secret again. Raises Invalid."""
    if not 0 < len(name) <= MAX_NAME:
        raise Invalid(f"name the key in 1 to {MAX_NAME} characters")
    if expires_at is not None and expires_at < now() + SHORTEST_LIFE:
        raise Invalid("the key must live for a minute at least; choose a later time")
    secret = PREFIX + secrets.token_urlsafe(32)
    key_id, hashed = f"key_{secrets.token_hex(8)}", digest(secret)
    fields = {
        "id": key_id,
        "user": user_id,
        "name": name,
        "prefix": secret[:SHOWN],
        "scope": scope,
        "created_at": now().isoformat(),
        "used_at": "",
        "expires_at": expires_at.isoformat() if expires_at else "",
    }
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(keys.api_key(hashed), mapping=fields)
        if expires_at is not None:
            pipe.expireat(keys.api_key(hashed), int(expires_at.timestamp()))
        pipe.hset(keys.api_keys(user_id), key_id, hashed)
        await pipe.execute()
    return key_id, secret


def no_longer_than(maker: Principal, expires_at: datetime | None) -> datetime | None:
    """The end of a key that ``maker`` makes: one that ends makes none that lasts longer."""
    ends = [end for end in (expires_at, maker.expires_at) if end is not None]
    return min(ends, default=None)


async def find_key(
    store: Store, hashed: str, *, likely: str = FIRST_ACCOUNT
) -> LiveCredential | None:
    """The key of a secret's digest, if it and its account are there. It may do what its scope says,
    and never more than the account; ``likely`` is the account that is read along."""
    fields, role = await read_with_role(store, "key", hashed, likely=likely)
    if role is None:
        return None
    wanted = OF_SCOPE.get(fields["scope"], V1)
    scopes = wanted if wanted == V1 else wanted & SCOPES[role]
    ends = fields.get("expires_at")
    user = Principal(
        fields["user"],
        "key",
        scopes,
        hashed,
        expires_at=datetime.fromisoformat(ends) if ends else None,
    )
    return LiveCredential(user, moment(fields["used_at"]))


async def list_keys(redis: RedisClient, user_id: str) -> list[dict[str, str]]:
    """``{id, name, prefix, scope, created_at, used_at, expires_at}`` of live keys, oldest first.

    "" stands for never.
    """
    index = await _index(redis, user_id)
    async with redis.pipeline(transaction=False) as pipe:
        for hashed in index.values():
            pipe.hgetall(keys.api_key(hashed))
        answers: list[dict[bytes, bytes]] = await pipe.execute()
    found = [as_text(answer) for answer in answers]
    alive = {fields["id"] for fields in found if "user" in fields}
    if expired := index.keys() - alive:
        await redis.hdel(keys.api_keys(user_id), *expired)
    return sorted(
        ({k: v for k, v in f.items() if k != "user"} for f in found if "user" in f),
        key=lambda fields: (fields["created_at"], fields["id"]),
    )


async def revoke_key(redis: RedisClient, user_id: str, key_id: str) -> bool:
    """End a key and its open streams. False when the user has no such key."""
    hashed = (await _index(redis, user_id)).get(key_id)
    if hashed is None:
        return False
    await end_credentials(redis, [keys.api_key(hashed)], [hashed])
    await redis.hdel(keys.api_keys(user_id), key_id)
    return True


async def _index(redis: RedisClient, user_id: str) -> dict[str, str]:
    return await read_fields(redis, keys.api_keys(user_id))
