"""What sessions and API keys share: opaque random tokens, known to Redis by SHA-256 only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from core.accounts.accounts import FIRST_ACCOUNT, Role, role_of
from core.accounts.principal import Kind, Principal
from core.store import keys, scripts
from core.store.client import Store
from core.store.redis import RedisClient

NAMES: dict[Kind, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "session": (keys.session, keys.sessions),
    "key": (keys.api_key, keys.api_keys),
}
"""How a credential is called by its digest, and the list of them by the account."""

TOUCH_SECONDS = 60
"""The time of last use is written at most once a minute: it is for people."""


@dataclass(frozen=True, slots=True)
class LiveCredential:
    """A live credential and when it was last used."""

    principal: Principal
    last_used: datetime


def digest(token: str) -> str:
    """The name of a token in Redis. 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def now() -> datetime:
    """The current time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def moment(text: str) -> datetime:
    """A stored time; "" is the beginning of time."""
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)


async def read_fields(redis: RedisClient, name: str) -> dict[str, str]:
    """A hash in Redis as text; empty when it does not exist."""
    return as_text(await redis.hgetall(name))


async def read_with_role(
    store: Store, kind: Kind, hashed: str, *, likely: str = FIRST_ACCOUNT
) -> tuple[dict[str, str], Role | None]:
    """The fields of a credential and the role of its account, in one round trip when ``likely`` is
    the account. No role: the credential opens nothing; so does one that the account's list of them
    does not name, because nobody would see it there. Not retried; raises RedisError."""
    name_of, index_of = NAMES[kind]
    call = scripts.credential(
        credential=name_of(hashed),
        account=keys.account(likely),
        index=index_of(likely),
        digest=hashed,
    )
    row: list[bytes]
    row, stored, named = await store.script_once(call)
    fields = as_text(dict(zip(row[::2], row[1::2], strict=True)))
    account_id = fields.get("user")
    if account_id is None:
        return {}, None
    if account_id != likely:
        return await read_with_role(store, kind, hashed, likely=account_id)
    return fields, role_of(account_id, stored) if named else None


def as_text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """Fields of a hash as Redis gives them, decoded."""
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in fields.items()
    }


async def end_credentials(redis: RedisClient, names: Sequence[str], digests: Sequence[str]) -> None:
    """Delete the hashes and tell every process, so that open streams end too."""
    if not names:
        return
    async with redis.pipeline(transaction=True) as pipe:
        pipe.delete(*names)
        for ended in digests:
            pipe.publish(keys.revocations(), ended)
        await pipe.execute()
