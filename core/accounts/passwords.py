"""Passwords of accounts: argon2id in a thread, so that the event loop keeps turning."""

from __future__ import annotations

import asyncio
import unicodedata
from datetime import UTC, datetime
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.accounts.accounts import FIRST_ACCOUNT, ROLE
from core.accounts.orphans import drop_orphans
from core.accounts.sessions import revoke_all_sessions
from core.errors import Invalid, NotFound
from core.store import keys
from core.store.redis import Pipeline, RedisClient

MIN_LENGTH = 8
MAX_LENGTH = 1024
"""Characters. Length is the only rule; the upper bound keeps hashing cheap."""

# OWASP's first choice for argon2id (Password Storage Cheat Sheet): 19 MiB, 2 passes, 1 lane.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

FIELDS = ("password", "version")


def check_length(password: str) -> None:
    """Raises Invalid when the password is too short or too long."""
    if len(password) < MIN_LENGTH:
        raise Invalid(f"the password is too short; use at least {MIN_LENGTH} characters")
    if len(password) > MAX_LENGTH:
        raise Invalid(f"the password is too long; use at most {MAX_LENGTH} characters")


async def is_set_up(redis: RedisClient) -> bool:
    """Whether the administrator exists: whether the first account has a password."""
    name = keys.account(FIRST_ACCOUNT)
    return await redis.hexists(name, "password")


async def set_first_password(redis: RedisClient, password: str) -> bool:
    """Make the administrator. False when another call was faster; there is exactly one winner."""
    hashed, name = await asyncio.to_thread(_hash, password), keys.account(FIRST_ACCOUNT)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hsetnx(name, "password", hashed)
        _make_administrator(pipe)
        won, *_ = await pipe.execute()
    return bool(won)


async def reset_password(redis: RedisClient, new_password: str, *, account_id: str) -> None:
    """Set the password whatever it was, and sign every browser of the account out.

    Raises Invalid, NotFound.
    """
    check_length(new_password)
    name = keys.account(account_id)
    if account_id != FIRST_ACCOUNT and not await redis.exists(name):
        raise NotFound(f"there is no account {account_id!r}")
    hashed = await asyncio.to_thread(_hash, new_password)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(name, "password", hashed)
        pipe.hincrby(name, "version", 1)
        if account_id == FIRST_ACCOUNT:
            _make_administrator(pipe)
            pipe.delete(keys.setup_token())
        await pipe.execute()
    await revoke_all_sessions(redis, account_id)
    await drop_orphans(redis)


def _make_administrator(pipe: Pipeline) -> None:
    """What the first account has from its first password on."""
    name = keys.account(FIRST_ACCOUNT)
    pipe.hsetnx(name, ROLE, "admin")
    pipe.hsetnx(name, "created_at", datetime.now(UTC).isoformat())


async def password_version(redis: RedisClient, account_id: str) -> str:
    """Changes with every reset; a sign-in that began before a reset must not outlive it."""
    return (await _stored(redis, account_id))[1]


async def verify_password(redis: RedisClient, password: str, *, account_id: str) -> str | None:
    """The password's version if it is right, else None. Takes as long when there is no account."""
    stored, version = await _stored(redis, account_id)
    right = await asyncio.to_thread(_matches, stored, password)
    return version if right and stored else None


async def _stored(redis: RedisClient, account_id: str) -> tuple[str, str]:
    hashed, version = await redis.hmget(keys.account(account_id), *FIELDS)
    return (hashed or b"").decode(), (version or b"0").decode()


def _matches(stored: str, password: str) -> bool:
    if len(password) > MAX_LENGTH:
        return False
    try:
        return HASHER.verify(stored or _nobodys_hash(), _normal(password))
    except (VerificationError, InvalidHashError):
        return False


def _hash(password: str) -> str:
    return HASHER.hash(_normal(password))


def _normal(password: str) -> bytes:
    """Keyboards differ in how they compose é and й; the password is the same."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


@cache
def _nobodys_hash() -> str:
    return HASHER.hash("nobody")
