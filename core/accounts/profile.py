"""User data: name, time zone, language and preferences; part of the system context of every
turn."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping

from core.errors import Invalid
from core.events import scrub
from core.store import keys
from core.store.client import Store
from core.store.reads import Read

MAX_ENTRIES = 50
MAX_KEY = 64
MAX_VALUE = 1000
LANGUAGES = ("en", "ru")


class Profiles:
    """Stored user data. Keys are free but for ``time_zone`` and ``language``, which are checked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, user_id: str) -> dict[str, str]:
        """All user data, by key."""
        name = keys.profile(user_id)
        row = await self._store.retry(lambda: self._store.redis.hgetall(name))
        return decoded(row)

    async def update(self, user_id: str, changes: Mapping[str, str | None]) -> dict[str, str]:
        """Set (or, with None or "", remove) entries; returns all. Raises Invalid, and then changes
        nothing."""
        clean = {check_key(key): check_value(key, value) for key, value in changes.items()}
        held = await self.get(user_id)
        merged = {k: v for k, v in {**held, **clean}.items() if v}
        if len(merged) > MAX_ENTRIES:
            raise Invalid(f"a profile holds at most {MAX_ENTRIES} entries; remove some first")
        name = keys.profile(user_id)

        async def send() -> None:
            async with self._store.redis.pipeline(transaction=True) as pipe:
                kept = {k: v for k, v in clean.items() if v}
                gone = [k for k, v in clean.items() if not v]
                if kept:
                    pipe.hset(name, mapping=kept)
                if gone:
                    pipe.hdel(name, *gone)
                await pipe.execute()

        await self._store.retry(send)
        return merged

    async def clear(self, user_id: str) -> None:
        """Forget all user data."""
        await self._store.retry(lambda: self._store.redis.delete(keys.profile(user_id)))


def profile_read(_thread_id: str, user_id: str) -> Read[dict[str, str]]:
    """The read of all user data, for the round trip of something else."""
    return Read(("HGETALL", keys.profile(user_id)), decoded)


def decoded(row: Mapping[bytes, bytes]) -> dict[str, str]:
    """User data as it is stored, made readable."""
    return {key.decode(): value.decode() for key, value in sorted(row.items())}


def check_key(key: str) -> str:
    """A key of user data. Raises Invalid."""
    clean = key.strip().lower().replace(" ", "_").replace("-", "_")
    if not clean or len(clean) > MAX_KEY or not clean.replace("_", "").isalnum():
        raise Invalid(f"{key[:80]!r} cannot be a profile key; use letters, digits and _")
    return clean


def check_value(key: str, value: str | None) -> str:
    """A value of user data; zone and language must exist. Raises Invalid."""
    if value is None or not value.strip():
        return ""
    clean = scrub(value).replace("\x00", "").strip()
    if len(clean) > MAX_VALUE:
        raise Invalid(f"{key}: at most {MAX_VALUE} characters")
    match check_key(key):
        case "time_zone":
            return check_zone(clean)
        case "language" if clean.lower() not in LANGUAGES:
            raise Invalid(f"language must be one of {', '.join(LANGUAGES)}")
        case "language":
            return clean.lower()
        case _:
            return clean


def check_zone(name: str) -> str:
    """An IANA time zone name. Raises Invalid."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(f"{name[:80]!r} is no time zone; use a name like Europe/Berlin") from error
    return name
