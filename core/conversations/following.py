"""Following a thread, or all threads of a user: what the journal has, then what comes, without a
gap and without repeats."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from core.conversations.hub import Subscription
from core.conversations.journal import PAGE, Entry, order, read
from core.events import ThreadDeleted
from core.store import keys
from core.store.client import Store


class ReaderTooSlow(Exception):
    """The reader was dropped; it may come back with its last id."""


async def follow(
    store: Store, subscription: Subscription, thread_id: str, after: str
) -> AsyncGenerator[list[Entry]]:
    """All entries of a thread after an id, then new ones as they come, until the subscription is
    closed or the thread is deleted; then the last entry tells so.

    Raises ReaderTooSlow.
    """
    last = order(after)
    again = True
    while not subscription.closed:
        while again:
            entries = await read(store, thread_id, f"{last[0]}-{last[1]}")
            if entries:
                last = entries[-1].order
                yield entries
            elif not await store.retry(lambda: store.redis.exists(keys.meta(thread_id))):
                yield [Entry(thread_id, f"{last[0]}-{last[1] + 1}", "", ThreadDeleted.type, b"{}")]
                return
            again = len(entries) == PAGE
        batch = await subscription.get()
        if batch is None:
            again = True
            continue
        if subscription.dropped:
            raise ReaderTooSlow
        fresh = [e for e in batch if e.order > last]
        if fresh:
            last = fresh[-1].order
            yield fresh
            if fresh[-1].type == ThreadDeleted.type:
                return


async def follow_user(
    store: Store, subscription: Subscription, user_id: str, after: str | None
) -> AsyncGenerator[list[Entry]]:
    """Entries of all threads of a user. ``after`` None: only new ones. Raises ReaderTooSlow.

    Ids order entries within a thread and, but for the same millisecond, between threads; so a
    resumed stream begins at that millisecond and clients skip what they have, by thread and id.
    """
    last: dict[str, tuple[int, int]] = {}
    since = order(after)[0] if after else await _now(store)
    again = after is not None
    while not subscription.closed:
        if again:
            async for entries in _missed(store, user_id, since, last):
                yield entries
        batch = await subscription.get()
        again = batch is None
        if subscription.dropped:
            raise ReaderTooSlow
        fresh = [e for e in batch or () if e.order > last.get(e.thread_id, (0, 0))]
        if fresh:
            last |= {entry.thread_id: entry.order for entry in fresh}
            since = fresh[-1].order[0]
            yield fresh


async def _now(store: Store) -> int:
    """Redis's clock in milliseconds, which the ids are made of."""
    seconds, micros = await store.retry(lambda: store.redis.time())
    return seconds * 1000 + micros // 1000


async def _missed(
    store: Store, user_id: str, since_ms: int, last: dict[str, tuple[int, int]]
) -> AsyncIterator[list[Entry]]:
    """Entries since a millisecond from every thread used in the hour before it or later."""
    name = keys.user_threads(user_id)
    rows = await store.retry(lambda: store.redis.zrangebyscore(name, since_ms - 3_600_000, "+inf"))
    for thread_id in (row.decode() for row in rows):
        after = last.get(thread_id, (since_ms - 1, 2**63) if since_ms else (0, 0))
        while entries := await read(store, thread_id, f"{after[0]}-{after[1]}"):
            after = last[thread_id] = entries[-1].order
            yield entries
