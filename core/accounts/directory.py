"""Looks credentials up, fast: an answer is kept for half a second, or until it is revoked."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import find_key
from core.accounts.credentials import TOUCH_SECONDS, LiveCredential, digest, now
from core.accounts.principal import Kind, Principal
from core.accounts.revocations import Revocations
from core.accounts.sessions import find_session
from core.errors import StoreError
from core.store import keys, scripts
from core.store.client import Store

CACHE_SECONDS = 0.5
CACHE_SIZE = 4096

logger = logging.getLogger(__name__)


class Find(Protocol):
    """Reads one kind of credential."""

    def __call__(
        self, store: Store, hashed: str, *, likely: str
    ) -> Awaitable[LiveCredential | None]:
        """What is stored under the digest; ``likely`` is the account that is read along."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Who a token belongs to. ``new_day``: its first use today, when the cookie is renewed."""

    principal: Principal
    new_day: bool = False


class Directory:
    """Tokens → principals."""

    def __init__(self, store: Store, revocations: Revocations) -> None:
        self._store = store
        self._revocations = revocations
        self._cache: dict[str, tuple[float, Admission]] = {}
        revocations.on_end(self.forget)

    async def session(self, token: str, days: int) -> Admission | None:
        """The session of a cookie's token, prolonged to ``days`` from now. Raises StoreError."""
        return await self._look_up(token, "session", find_session, str(days * 86_400))

    async def key(self, secret: str) -> Admission | None:
        """The API key of a secret. Raises StoreError."""
        return await self._look_up(secret, "key", find_key, "")

    def forget(self, credential: str) -> None:
        """Ask Redis next time."""
        self._cache.pop(credential, None)

    async def _look_up(self, token: str, kind: Kind, find: Find, ttl: str) -> Admission | None:
        hashed = digest(token)
        kept = self._cache.get(hashed)
        if kept is not None and kept[0] > time.monotonic() and kept[1].principal.kind == kind:
            return kept[1]
        # The account that the credential had last time, so that one round trip reads both.
        likely = kept[1].principal.user_id if kept is not None else FIRST_ACCOUNT
        # Counted from before the read, so that no answer is ever older than half a second.
        until = time.monotonic() + CACHE_SECONDS
        found = await self._store.retry(lambda: find(self._store, hashed, likely=likely))
        if found is None or self._revocations.ended(hashed):
            self.forget(hashed)
            return None
        self._keep(hashed, until, Admission(found.principal))
        return Admission(found.principal, await self._touch(found, kind, ttl))

    def _keep(self, hashed: str, until: float, answer: Admission) -> None:
        if len(self._cache) >= CACHE_SIZE:
            self._cache.clear()
        self._cache[hashed] = (until, answer)

    async def _touch(self, found: LiveCredential, kind: Kind, ttl: str) -> bool:
        at = now()
        if (at - found.last_used).total_seconds() < TOUCH_SECONDS:
            return False
        hashed = found.principal.credential
        name = keys.session(hashed) if kind == "session" else keys.api_key(hashed)
        try:
            await self._store.script(
                scripts.touch(credential=name, field="used_at", value=at.isoformat(), ttl=ttl)
            )
        except StoreError as error:
            # Reading goes on while Redis refuses writes (disk full).
            logger.info("the use of a credential was not noted: %s", error)
            return False
        return _day(at) != _day(found.last_used)


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%d")
