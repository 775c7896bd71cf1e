"""The administrator's password: argon2id in a thread, so that the event loop keeps turning."""

from __future__ import annotations

import asyncio
import unicodedata
from datetime import UTC, datetime
from functools import cache
from typing import cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from redis.asyncio import Redis

from core.accounts.sessions import revoke_all_sessions
from core.errors import Invalid
from core.store import keys

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


async def is_set_up(redis: Redis) -> bool:
    """Whether the administrator exists."""
    return bool(cast("int", await redis.execute_command("HEXISTS", keys.owner(), "password")))


async def set_first_password(redis: Redis, password: str) -> bool:
    """Make the administrator. False when somebody was faster; there is exactly one winner."""
    hashed = await asyncio.to_thread(_hash, password)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hsetnx(keys.owner(), "password", hashed)
        pipe.hsetnx(keys.owner(), "created_at", datetime.now(UTC).isoformat())
        won, _ = await pipe.execute()
    return bool(won)


async def reset_password(redis: Redis, new_password: str) -> None:
    """Set the password whatever it was, and sign every browser out. Raises Invalid."""
    check_length(new_password)
    hashed = await asyncio.to_thread(_hash, new_password)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hset(keys.owner(), "password", hashed)
        pipe.hsetnx(keys.owner(), "created_at", datetime.now(UTC).isoformat())
        pipe.hincrby(keys.owner(), "version", 1)
        pipe.delete(keys.setup_token())
        await pipe.execute()
    await revoke_all_sessions(redis)


async def password_version(redis: Redis) -> str:
    """Changes with every reset; a sign-in that began before a reset must not outlive it."""
    return (await _stored(redis))[1]


async def verify_password(redis: Redis, password: str) -> str | None:
    """The password's version if it is right, else None. Takes as long when there is no account."""
    stored, version = await _stored(redis)
    right = await asyncio.to_thread(_matches, stored, password)
    return version if right and stored else None


async def _stored(redis: Redis) -> tuple[str, str]:
    values = cast("list[bytes | None]", await redis.execute_command("HMGET", keys.owner(), *FIELDS))
    hashed, version = values
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
