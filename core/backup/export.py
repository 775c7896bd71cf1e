"""All data of one user as readable JSON, piece by piece: a long history needs little memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from core.accounts.profile import Profiles
from core.backup.snapshot import scan
from core.conversations.threads import Threads, timestamp
from core.errors import NotFound
from core.events import Json
from core.store import keys
from core.store.client import DEADLINE, Store

FORMAT = 1
METAS_AT_ONCE = 500
FIELDS = ("user", "title", "created_at", "updated_at", "ttl")

Meta = dict[str, str]


async def metas_of(store: Store, user_id: str) -> dict[str, Meta]:
    """The user's conversations, last used first: also those of stateless clients, which no list
    names."""
    found: dict[str, Meta] = {}
    async for names in scan(store, keys.all_metas(), patience=DEADLINE):
        for name, meta in zip(names, await _read_metas(store, names), strict=True):
            apart = keys.thread_and_part(name)
            if apart is not None and meta.get("user") == user_id:
                found[apart[0]] = meta
    newest = sorted(found, key=lambda thread_id: int(found[thread_id]["updated_at"]), reverse=True)
    return {thread_id: found[thread_id] for thread_id in newest}


async def _read_metas(store: Store, names: Sequence[str]) -> list[Meta]:
    async def send() -> list[list[bytes | None]]:
        async with store.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(name, *FIELDS)
            return await pipe.execute()

    rows = await store.retry(send)
    return [
        {name: value.decode() for name, value in zip(FIELDS, row, strict=True) if value is not None}
        for row in rows
    ]


async def user_keys(store: Store, user_id: str) -> list[str]:
    """Names of the user's own keys (conversations have keys of their own)."""
    pattern = keys.all_of_user(user_id)
    batches = [batch async for batch in scan(store, pattern, patience=DEADLINE)]
    return sorted({name for batch in batches for name in batch})


async def export_user(
    store: Store, user_id: str, credentials: Mapping[str, Json]
) -> AsyncIterator[bytes]:
    """Pieces of one JSON object; ``credentials`` is what the sign-in has to tell.

    Raises NotFound before the first piece, StoreError.
    """
    metas, own = await metas_of(store, user_id), await user_keys(store, user_id)
    if not metas and not own:
        raise NotFound(f"there is no data of a user {user_id!r}")
    head = {
        "format": FORMAT,
        "user_id": user_id,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": await Profiles(store).get(user_id),
        **credentials,
        "usage": await _usage(store, user_id, own),
    }
    # The list of conversations goes before the closing brace.
    yield _json(head).removesuffix(b"\n}") + b',\n  "conversations": ['
    threads, separator = Threads(store), b"\n    "
    for thread_id, meta in metas.items():
        entry = _about(thread_id, meta) | {"messages": await threads.everything(thread_id)}
        yield separator + _json(entry).replace(b"\n", b"\n    ")
        separator = b",\n    "
    yield b"\n  ]\n}\n"


def _about(thread_id: str, meta: Meta) -> dict[str, Any]:
    return {
        "id": thread_id,
        "title": meta.get("title", ""),
        "created_at": timestamp(int(meta["created_at"])),
        "updated_at": timestamp(int(meta["updated_at"])),
        "ephemeral": "ttl" in meta,
    }


async def _usage(store: Store, user_id: str, own: Sequence[str]) -> list[dict[str, Json]]:
    """Counts per day, oldest first."""
    start = keys.usage_day(user_id, "")
    names = [name for name in own if name.startswith(start)]
    days: list[dict[str, Json]] = []
    for name in names:
        row = await store.retry(lambda name=name: store.redis.hgetall(name))
        counts = {field.decode(): int(value) for field, value in sorted(row.items())}
        days.append({"day": name.removeprefix(start), **counts})
    return days


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)
