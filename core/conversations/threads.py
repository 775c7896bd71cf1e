"""Conversations: whose they are, what they are called, what was said in them.

Ownership lives in our own keys: the graph knows thread ids only.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.conversations import journal
from core.conversations.transcript import collapse, queued, read_record
from core.errors import Invalid, NotFound
from core.events import Json, scrub
from core.ids import new_id
from core.store import keys, scripts
from core.store.client import Store

MAX_TITLE = 200

CURSOR = re.compile(r"[0-9]{1,15}\.[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Thread:
    """One conversation."""

    id: str
    user_id: str
    title: str
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Page:
    """Messages of a thread, oldest first, and the cursor to older ones."""

    messages: list[dict[str, Json]]
    before: int | None
    running_run_id: str | None
    events_since: str


def timestamp(milliseconds: int | float) -> str:
    """RFC 3339 in UTC."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_title(title: str) -> str:
    """The title as it is stored. Raises Invalid."""
    clean = " ".join(scrub(title).split())
    if len(clean) > MAX_TITLE:
        raise Invalid(f"a title has at most {MAX_TITLE} characters")
    return clean


class Threads:
    """Stored conversations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(
        self, user_id: str, *, title: str = "", ttl: int | None = None, thread_id: str = ""
    ) -> Thread:
        """A new thread; with ``ttl`` (seconds) an ephemeral one, which no list shows."""
        thread_id = thread_id or new_id("t")
        now = int(time.time() * 1000)
        fields: dict[str, str | int] = {"user": user_id, "created_at": now, "updated_at": now}
        clean = check_title(title)
        if clean:
            fields["title"] = clean
        if ttl is not None:
            fields["ttl"] = ttl

        async def send() -> None:
            async with self._store.redis.pipeline(transaction=True) as pipe:
                pipe.hset(keys.meta(thread_id), mapping=fields)
                if ttl is None:
                    pipe.zadd(keys.user_threads(user_id), {thread_id: now})
                else:
                    pipe.expire(keys.meta(thread_id), ttl)
                await pipe.execute()

        await self._store.retry(send)
        return Thread(thread_id, user_id, clean, timestamp(now), timestamp(now))

    async def get(self, user_id: str, thread_id: str) -> Thread:
        """The thread, if it is this user's. Raises NotFound."""
        fields = await self._meta(thread_id)
        if not fields or fields.get("user") != user_id:
            raise NotFound(f"there is no conversation {thread_id!r}")
        return _thread(thread_id, fields)

    async def _meta(self, thread_id: str) -> dict[str, str]:
        name = keys.meta(thread_id)
        row = await self._store.retry(lambda: self._store.redis.hgetall(name))
        return {key.decode(): value.decode() for key, value in row.items()}

    async def listed(
        self, user_id: str, *, limit: int, cursor: str | None
    ) -> tuple[list[Thread], str | None]:
        """Threads, last used first, and the cursor of the next page."""
        name, (high, skip) = keys.user_threads(user_id), _cursor(cursor)
        rows = await self._store.retry(
            lambda: self._store.redis.zrevrangebyscore(
                name, high, "-inf", start=skip, num=limit + 1, withscores=True
            )
        )
        page = rows[:limit]
        threads = [
            t for t in await self._many([row[0].decode() for row in page]) if t.user_id == user_id
        ]
        if len(rows) <= limit:
            return threads, None
        # Threads of the same millisecond stand side by side: the cursor says how many were shown.
        last = int(page[-1][1])
        shown = sum(1 for row in page if int(row[1]) == last)
        return threads, f"{last}.{shown + skip if str(last) == high else shown}"

    async def _many(self, ids: list[str]) -> list[Thread]:
        if not ids:
            return []

        async def send() -> list[dict[bytes, bytes]]:
            async with self._store.redis.pipeline(transaction=False) as pipe:
                for thread_id in ids:
                    pipe.hgetall(keys.meta(thread_id))
                return await pipe.execute()

        rows = await self._store.retry(send)
        found = [
            (i, {k.decode(): v.decode() for k, v in row.items()})
            for i, row in zip(ids, rows, strict=True)
            if row
        ]
        return [_thread(thread_id, fields) for thread_id, fields in found]

    async def rename(self, user_id: str, thread_id: str, title: str) -> Thread:
        """Give the thread a title. Raises NotFound, Invalid."""
        await self.get(user_id, thread_id)
        clean = check_title(title)
        if not clean:
            raise Invalid("a title must not be empty")
        name = keys.meta(thread_id)
        await self._store.retry(lambda: self._store.redis.hset(name, mapping={"title": clean}))
        return await self.get(user_id, thread_id)

    async def delete(self, user_id: str, thread_id: str) -> None:
        """Delete the thread and tell its readers. A worker that still runs it is fenced off; its
        checkpoints are erased by workers (graph/jobs.py), soon if the caller asks for the
        ``erase_thread`` job. Raises NotFound."""
        await self.get(user_id, thread_id)
        call = scripts.delete(
            deleted=keys.deleted(),
            pending=keys.pending(),
            user_threads=keys.user_threads(user_id),
            meta=keys.meta(thread_id),
            journal=keys.journal(thread_id),
            names=keys.of_thread(thread_id),
            user=user_id,
            thread=thread_id,
            channel=keys.user_channel(user_id),
        )
        await self._store.script(call)

    async def deleted(self) -> list[str]:
        """Deleted threads whose checkpoints may still be there."""
        found = await self._store.retry(lambda: self._store.redis.smembers(keys.deleted()))
        return [name.decode() for name in found]

    async def erase_rest(self, thread_id: str) -> None:
        """Remove every key of a deleted thread but its checkpoints, which are gone already. Safe to
        repeat."""
        names = keys.of_thread(thread_id)

        async def send() -> None:
            async with self._store.redis.pipeline(transaction=True) as pipe:
                pipe.unlink(*names)
                pipe.srem(keys.deleted(), thread_id)
                await pipe.execute()

        await self._store.retry(send)

    async def page(self, thread_id: str, *, limit: int, before: int | None) -> Page:
        """The newest messages (before an index). Of one snapshot: what is not here follows as
        events."""
        end = -1 if before is None else before - 1
        start = -limit if before is None else max(before - limit, 0)
        if before == 0:
            start, end = 1, 0

        async def send() -> list[Any]:
            async with self._store.redis.pipeline(transaction=True) as pipe:
                pipe.llen(keys.transcript(thread_id))
                pipe.lrange(keys.transcript(thread_id), start, end)
                pipe.xrange(keys.inbox(thread_id))
                pipe.hget(keys.control(thread_id), "run")
                pipe.xrevrange(keys.journal(thread_id), "+", "-", count=1)
                return await pipe.execute()

        length, rows, waiting, running, newest = await self._store.retry(send)
        if before is not None and before > length:
            return await self.page(thread_id, limit=limit, before=length)
        stop = length if before is None else before
        first = max(stop - len(rows), 0)
        messages = collapse([read_record(row) for row in rows])
        run_id = running.decode() if running else None
        if before is None:
            accepted = _waiting(thread_id, waiting)
            messages += [message for message in accepted if message["retry_of"] is None]
        since = newest[0][0].decode() if newest else journal.START
        if run_id is not None:
            since = await self._before_run(thread_id, run_id, since)
        return Page(messages, first or None, run_id, since)

    async def everything(self, thread_id: str) -> list[dict[str, Json]]:
        """All messages: also answers that were tried again, and messages that still wait."""

        async def send() -> list[Any]:
            async with self._store.redis.pipeline(transaction=True) as pipe:
                pipe.lrange(keys.transcript(thread_id), 0, -1)
                pipe.xrange(keys.inbox(thread_id))
                return await pipe.execute()

        rows, waiting = await self._store.retry(send)
        return [*map(read_record, rows), *_waiting(thread_id, waiting)]

    async def _before_run(self, thread_id: str, run_id: str, newest: str) -> str:
        """Id of the last entry that does not belong to the running turn."""
        high = newest
        while True:
            rows = await self._store.retry(
                lambda high=high: self._store.redis.xrevrange(
                    keys.journal(thread_id), high, "-", count=200
                )
            )
            for entry_id, fields in rows:
                if journal.run_of(thread_id, fields) != run_id:
                    return entry_id.decode()
            if len(rows) < 200:
                return journal.START
            high = f"({rows[-1][0].decode()}"

    async def has_work(self, thread_id: str) -> bool:
        """Whether a message of the thread waits or is being answered."""
        name = keys.inbox(thread_id)
        return bool(await self._store.retry(lambda: self._store.redis.xlen(name)))

    async def last_user_message(self, thread_id: str) -> dict[str, Json] | None:
        """The newest finished message of the user, for `try again`."""
        name = keys.transcript(thread_id)
        rows = await self._store.retry(lambda: self._store.redis.lrange(name, -50, -1))
        records = [read_record(row) for row in rows]
        return next((r for r in reversed(records) if r["role"] == "user"), None)


def _waiting(thread_id: str, rows: list[Any]) -> list[dict[str, Json]]:
    """The user's messages of an inbox."""
    found = [queued(thread_id, row) for row in rows]
    return [message for message in found if message is not None]


def _thread(thread_id: str, fields: dict[str, str]) -> Thread:
    return Thread(
        thread_id,
        fields.get("user", ""),
        fields.get("title", ""),
        timestamp(int(fields.get("created_at", 0))),
        timestamp(int(fields.get("updated_at", 0))),
    )


def _cursor(cursor: str | None) -> tuple[str, int]:
    """Highest score of the page, and how many rows of it were shown before."""
    if cursor is None:
        return "+inf", 0
    if not CURSOR.fullmatch(cursor):
        raise Invalid("cursor must be one that a list returned in `next`")
    score, _, skip = cursor.partition(".")
    return score, int(skip)
