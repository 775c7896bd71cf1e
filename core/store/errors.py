"""Errors of Redis as errors of ours, in words that say what to do."""

from __future__ import annotations

from redis.exceptions import (
    AuthenticationError,
    MaxConnectionsError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from core.errors import Fenced, StoreError, StoreFull, StoreUnavailable

PASSWORD_SIGNS = ("NOAUTH", "WRONGPASS", "Authentication required", "invalid username-password")


def wrong_password(error: BaseException) -> bool:
    """While it connects, redis-py turns the refusal into a ConnectionError without its code."""
    text = str(error)
    return isinstance(error, AuthenticationError) or any(sign in text for sign in PASSWORD_SIGNS)


def translate(error: BaseException) -> StoreError | Fenced:
    """Our error for a Redis error, in words that say what to do."""
    text = str(error)
    if "FENCED" in text:
        return Fenced("another worker has taken this conversation over")
    if wrong_password(error):
        return StoreError("Redis refuses the password; correct it in REDIS_URL")
    if isinstance(error, OutOfMemoryError) or text.startswith("OOM"):
        return StoreFull(
            "Redis is out of memory (maxmemory reached); give it more memory, then try again"
        )
    if isinstance(error, ReadOnlyError) or "READONLY" in text:
        return StoreFull(
            "Redis is read-only (a replica); point REDIS_URL to the primary", "read_only"
        )
    if "MISCONF" in text or "No space left" in text:
        return StoreFull(
            "Redis cannot write to its disk; free some space, it recovers by itself", "disk"
        )
    if isinstance(error, MaxConnectionsError):
        return StoreUnavailable("too many connections to Redis are in use; try again in a moment")
    if isinstance(error, ResponseError):
        return StoreError(f"Redis refuses a command: {text}")
    return StoreUnavailable("Redis does not answer; it is tried again, see `doctor` if this lasts")
