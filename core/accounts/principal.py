"""A checked credential: which account it belongs to, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["session", "key"]
Scope = Literal["chat", "admin", "v1"]

CHAT = frozenset({"chat"})
V1 = frozenset({"v1"})
"""Only what an OpenAI client asks for: less than every account may do."""
EVERYTHING = frozenset({"chat", "admin"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A checked credential of the account ``user_id``.

    ``credential`` is its hash, the name under which it can be revoked.
    """

    user_id: str
    kind: Kind
    scopes: frozenset[str]
    credential: str
    reauth_at: datetime | None = None
    expires_at: datetime | None = None
    """When an API key ends by itself."""
