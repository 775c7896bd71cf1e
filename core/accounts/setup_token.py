"""The one-time link that makes the first visitor the administrator.

The token lies in a file that only our user can read, so that restarts print the same link; Redis
knows its hash. It is good for 24 hours from when it was made.
"""

from __future__ import annotations

import hmac
import secrets
import time
from pathlib import Path

from core.accounts.credentials import digest
from core.accounts.passwords import is_set_up
from core.errors import ConfigError
from core.home.secrets import create_private
from core.store import keys
from core.store.redis import RedisClient

TOKEN_FILE = "setup-token"  # noqa: S105 - a file name
TOKEN_BYTES = 24
LIFETIME = 24 * 3600
"""Seconds."""


async def ensure_setup_token(redis: RedisClient, home: Path) -> str | None:
    """The token for the link `/setup#TOKEN`, or None when set-up is done. Raises ConfigError."""
    path = home / TOKEN_FILE
    if await is_set_up(redis):
        path.unlink(missing_ok=True)
        return None
    try:
        token, left = _read_or_make(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror}; check its owner") from error
    await redis.set(keys.setup_token(), digest(token), ex=left)
    return token


async def is_setup_token(redis: RedisClient, token: str) -> bool:
    """Whether this is the token of the link."""
    stored = await redis.get(keys.setup_token())
    return stored is not None and hmac.compare_digest(stored.decode(), digest(token))


async def forget_setup_token(redis: RedisClient, home: Path) -> None:
    """The link was used."""
    await redis.delete(keys.setup_token())
    (home / TOKEN_FILE).unlink(missing_ok=True)


def _read_or_make(path: Path) -> tuple[str, int]:
    """The token, and the seconds that it is still good for."""
    left = _seconds_left(path)
    if left <= 0:
        path.unlink(missing_ok=True)
        create_private(path, secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        left = LIFETIME  # of ours, or of the one that another process made a moment ago
    return path.read_text(encoding="ascii").strip(), left


def _seconds_left(path: Path) -> int:
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0
    return 0 if age < 0 else int(LIFETIME - age)
