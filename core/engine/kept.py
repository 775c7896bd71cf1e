"""Tool results that are too long for the model: their whole text is kept beside the conversation,
so that the model can read on in it."""

from __future__ import annotations

import hashlib
import re

from core.engine.mailbox import Turn
from core.store import keys, scripts
from core.store.client import Store

MAX_RESULTS = 16
MAX_BYTES = 2 * 1024 * 1024
"""Bounds of one conversation; the oldest results go first."""

MAX_RESULT_BYTES = 1024 * 1024
"""Of one result, in UTF-8; the beginning is kept."""

READ_TOOL = "read_result"
"""The tool that reads kept results; ``tools/kept_results.py``."""

POINTER = re.compile(rf"\n\[[^\[\]\n]*{READ_TOOL}\(result_id=\"r[0-9a-f]{{10}}\"[^\[\]\n]*\]\Z")
"""The last line of a result that is kept."""


class KeptResults:
    """The kept results of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, turn: Turn, result_id: str, text: str) -> int:
        """Keep a result; the value is how many characters of it were kept. Safe to repeat.

        Raises Fenced, StoreError.
        """
        data = text.encode(errors="replace")[:MAX_RESULT_BYTES]
        kept = text if len(data) < MAX_RESULT_BYTES else data.decode(errors="ignore")
        call = scripts.keep_result(
            control=keys.control(turn.thread_id),
            kept=keys.kept(turn.thread_id),
            epoch=turn.epoch,
            name=result_id,
            text=kept,
            size=len(data),
            ttl=turn.ttl,
            most_results=MAX_RESULTS,
            most_bytes=MAX_BYTES,
        )
        await self._store.script(call)
        return len(kept)

    async def read(self, thread_id: str, result_id: str) -> str | None:
        """The text of a kept result; None when there is none of this name. Raises StoreError."""
        name = keys.kept(thread_id)
        raw = await self._store.retry(lambda: self._store.redis.hget(name, result_id))
        return None if raw is None or not result_id.startswith("r") else raw.decode()


def result_id(run_id: str, call_id: str) -> str:
    """The name of a call's result: short, and the same when the turn is resumed."""
    return "r" + hashlib.sha256(f"{run_id}\n{call_id}".encode()).hexdigest()[:10]


def pointer(name: str, *, shown: int, kept: int, total: int) -> str:
    """The line under a result that says how to read on."""
    more = "" if kept == total else f", the first {kept} of them kept"
    if shown == total:
        return f'\n[All {total} characters. Read again with {READ_TOOL}(result_id="{name}").]'
    return (
        f"\n[Only the first {shown} of {total} characters{more}. "
        f'Read on with {READ_TOOL}(result_id="{name}", offset={shown}).]'
    )


def is_kept(text: str, name: str) -> bool:
    """Whether a shown result ends with the pointer of this name."""
    found = POINTER.search(text)
    return found is not None and f'"{name}"' in found.group()
