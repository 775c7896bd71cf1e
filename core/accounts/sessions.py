"""Browser sessions: opaque tokens, kept in Redis as hashes, revocable one by one."""

from __future__ import annotations

import secrets
from datetime import timedelta

from core.accounts.accounts import FIRST_ACCOUNT, SCOPES
from core.accounts.credentials import (
    LiveCredential,
    as_text,
    digest,
    end_credentials,
    moment,
    now,
    read_with_role,
)
from core.accounts.principal import Principal
from core.store import keys
from core.store.client import Store
from core.store.redis import RedisClient

TOKEN_BYTES = 32
TOKEN_LENGTH = 43
AGENT_LENGTH = 200


async def create_session(
    redis: RedisClient, user_id: str, *, days: int, agent: str = "", address: str = ""
) -> str:
    """Open a session that ends after ``days`` without use; the value is the cookie's token."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    hashed = digest(token)
    at = now().isoformat()
    fields = {
        "id": secrets.token_hex(8),
        "user": user_id,
        "created_at": at,
        "used_at": at,
        "reauth_at": at,
        "agent": agent[:AGENT_LENGTH],
        "address": address,
    }
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(keys.session(hashed), mapping=fields)
        pipe.expire(keys.session(hashed), timedelta(days=days))
        pipe.sadd(keys.sessions(user_id), hashed)
        await pipe.execute()
    return token


async def find_session(
    store: Store, hashed: str, *, likely: str = FIRST_ACCOUNT
) -> LiveCredential | None:
    """The session of a token's digest, if it and its account are there. It may do what the account
    may do; ``likely`` is the account that is read along."""
    fields, role = await read_with_role(store, "session", hashed, likely=likely)
    if role is None:
        return None
    reauth = moment(fields.get("reauth_at", ""))
    user = Principal(fields["user"], "session", SCOPES[role], hashed, reauth)
    return LiveCredential(user, moment(fields["used_at"]))


async def list_sessions(redis: RedisClient, user_id: str) -> list[dict[str, str]]:
    """``{id, created_at, used_at, agent, address, digest}`` of live sessions, last used first."""
    found: list[dict[str, str]] = []
    gone: list[str] = []
    for hashed, fields in (await _all_sessions(redis, user_id)).items():
        if "user" in fields:
            found.append(fields | {"digest": hashed})
        else:
            gone.append(hashed)
    if gone:
        await redis.srem(keys.sessions(user_id), *gone)
    return sorted(found, key=lambda session: session["used_at"], reverse=True)


async def revoke_session(redis: RedisClient, user_id: str, hashed: str) -> None:
    """End one session; its next request and its open streams see it within a second."""
    await end_credentials(redis, [keys.session(hashed)], [hashed])
    await redis.srem(keys.sessions(user_id), hashed)


async def revoke_all_sessions(redis: RedisClient, user_id: str, *, but: str = "") -> None:
    """End all sessions of the user, except the one with the digest ``but``."""
    ended = [hashed for hashed in await _all_sessions(redis, user_id) if hashed != but]
    await end_credentials(redis, [keys.session(hashed) for hashed in ended], ended)
    if ended:
        await redis.srem(keys.sessions(user_id), *ended)


async def _all_sessions(redis: RedisClient, user_id: str) -> dict[str, dict[str, str]]:
    members = await redis.smembers(keys.sessions(user_id))
    digests = sorted(member.decode() for member in members)
    async with redis.pipeline(transaction=False) as pipe:
        for hashed in digests:
            pipe.hgetall(keys.session(hashed))
        answers: list[dict[bytes, bytes]] = await pipe.execute()
    return {hashed: as_text(answer) for hashed, answer in zip(digests, answers, strict=True)}
