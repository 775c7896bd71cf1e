"""A checked credential: who somebody is and what he may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

OWNER = "owner"
"""User id of the administrator, the one account that set-up makes."""

Kind = Literal["session", "key"]
Scope = Literal["chat", "admin"]

CHAT = frozenset({"chat"})
EVERYTHING = frozenset({"chat", "admin"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A checked credential. ``credential`` is its hash, the name under which it can be revoked."""

    user_id: str
    kind: Kind
    scopes: frozenset[str]
    credential: str
    reauth_at: datetime | None = None
