"""The accounts: who may use the assistant, and in which role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.accounts.principal import CHAT, EVERYTHING
from core.store import keys
from core.store.client import Store

FIRST_ACCOUNT = "owner"
"""Id of the account that set-up makes: the administrator."""

Role = Literal["admin", "member"]

SCOPES: Mapping[Role, frozenset[str]] = {"admin": EVERYTHING, "member": CHAT}
"""What an account may do. Its sessions may do all of that, its API keys all or less."""

ROLES: Mapping[bytes, Role] = {b"admin": "admin", b"member": "member"}
"""As they are stored."""

ROLE = "role"
"""Field of the stored account."""

PROFILE = ("name", "language", "time_zone")


@dataclass(frozen=True, slots=True)
class Account:
    """An account. ``name``, ``language`` and ``zone`` are what its profile says now; "" when it
    says nothing, and the id stands for the name."""

    id: str
    name: str
    role: Role
    language: str
    zone: str


class Accounts:
    """The stored accounts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, account_id: str) -> Account | None:
        """The account, if there is one. Raises StoreError."""

        async def send() -> tuple[bytes | None, list[bytes | None]]:
            async with self._store.redis.pipeline(transaction=False) as pipe:
                pipe.hget(keys.account(account_id), ROLE)
                pipe.hmget(keys.profile(account_id), *PROFILE)
                stored, about = await pipe.execute()
            return stored, about

        stored, about = await self._store.retry(send)
        role = role_of(account_id, stored)
        if role is None:
            return None
        name, language, zone = ((value or b"").decode() for value in about)
        return Account(account_id, name or account_id, role, language, zone)


def role_of(account_id: str, stored: bytes | None) -> Role | None:
    """The role that is stored for an account; None when there is no such account.

    The first account is the administrator before set-up too: the command line may make its API
    keys then.
    """
    if stored is None:
        return "admin" if account_id == FIRST_ACCOUNT else None
    return ROLES.get(stored)
