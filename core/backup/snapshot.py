"""All that we keep in Redis, read key by key while everything runs.

The keys of one conversation are read in one script, so each conversation is of one moment;
different conversations are of different moments. What speaks of many of them (which have work,
which belong to a user) is therefore not read but made from what was read of each: it can never
contradict them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.store import keys, scripts
from core.store.client import Store

PATIENCE = 60.0
"""Seconds that one step may take, an outage of Redis included: nobody waits for the answer."""

AT_ONCE = 16
"""Conversations in one round trip."""

NAMES_AT_ONCE = 200
SCAN_COUNT = 1000

Progress = Callable[[int, int], None]
"""Told how many of how many steps are done."""


def silent(_done: int, _all: int) -> None:
    """A progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key with its value, or a part of it. ``items`` by type:

    string [value] · hash [field, value, …] · list [value, …] · set [member, …] ·
    zset [member, score as a float, …] · stream [[id, [field, value, …]], …]

    ``expires_at`` is in milliseconds since 1970, ``start`` the number of items before these.
    """

    name: bytes
    type: str
    expires_at: int | None
    items: list[Any]
    last_id: bytes | None = None
    start: int = 0

    @property
    def text(self) -> str:
        """The name as text; ours are always."""
        return self.name.decode("utf-8", "surrogateescape")

    def fields(self) -> dict[bytes, bytes]:
        """The items of a hash."""
        return dict(zip(self.items[::2], self.items[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Names:
    """What there is: threads with the names of their unusual keys, users, and all others."""

    threads: dict[str, list[str]]
    users: dict[str, list[str]]
    others: list[str]


async def scan(
    store: Store, pattern: str, *, patience: float = PATIENCE
) -> AsyncIterator[list[str]]:
    """Names of keys in batches; some may come twice, none that is there all the time is missed."""
    cursor = 0
    while True:
        cursor, found = await store.retry(
            lambda cursor=cursor: store.redis.scan(cursor, match=pattern, count=SCAN_COUNT),
            deadline=patience,
        )
        yield [name.decode("utf-8", "surrogateescape") for name in found]
        if cursor == 0:
            return


async def read_names(store: Store) -> Names:
    """Names of everything worth keeping."""
    names = Names({}, {}, [])
    async for batch in scan(store, keys.everything()):
        for name in batch:
            if not keys.is_transient(name):
                _sort_in(names, name)
    return names


def _sort_in(names: Names, name: str) -> None:
    kind = keys.KINDS.kind_of(name)
    if apart := keys.thread_and_part(name):
        unusual = names.threads.setdefault(apart[0], [])
        # The others are read with their thread, whether they were met or not.
        if kind is None or not (kind.fixed or kind.name is keys.checkpoint):
            unusual.append(name)
    elif kind is not None and kind.backup == "made anew":
        return
    elif apart := keys.user_and_part(name):
        names.users.setdefault(apart[0], []).append(name)
    else:
        names.others.append(name)


async def read_groups(
    store: Store, groups: Iterable[tuple[Sequence[str], Sequence[str]]]
) -> list[list[Key]]:
    """Of each group (names, sets of checkpoint namespaces) the keys at one moment."""
    calls = [store.call(scripts.snapshot(wanted=names, spaces=spaces)) for names, spaces in groups]

    async def send() -> list[Any]:
        answers = await store.several_once(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    answers = await store.retry(send, deadline=PATIENCE)
    return [[_key(row) for row in answer] for answer in answers]


async def read_keys(store: Store, names: Sequence[str]) -> list[Key]:
    """Some keys at one moment."""
    return (await read_groups(store, [(names, ())]))[0]


def _key(row: list[Any]) -> Key:
    name, kind, expires_at, items, last_id = row
    if kind == b"zset":
        items = [float(item) if n % 2 else item for n, item in enumerate(items)]
    at = expires_at if expires_at >= 0 else None
    return Key(name, kind.decode(), at, items, last_id or None)


def _group(thread_id: str, unusual: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return (*keys.of_thread(thread_id), *unusual), keys.checkpoint_spaces(thread_id)


class Snapshot:
    """One pass over everything."""

    def __init__(self, store: Store, progress: Progress = silent) -> None:
        self._store = store
        self._progress = progress
        self._pending: list[bytes] = []
        self._threads: dict[str, list[bytes | float]] = {}
        self.thread_count = 0
        self.user_count = 0

    async def read(self) -> AsyncIterator[Key]:
        """All keys. A conversation that begins meanwhile may be missing or there, never half."""
        names = await read_names(self._store)
        async for key in self._read_threads(names.threads):
            yield key
        for part in (*names.users.values(), *_batches(names.others)):
            for key in await read_keys(self._store, part):
                yield key
        self.user_count = len(names.users.keys() | self._threads.keys())
        for key in self._made():
            yield key

    async def _read_threads(self, threads: dict[str, list[str]]) -> AsyncIterator[Key]:
        ids = sorted(threads)
        for at in range(0, len(ids), AT_ONCE):
            some = ids[at : at + AT_ONCE]
            groups = await read_groups(self._store, [_group(i, threads[i]) for i in some])
            for thread_id, group in zip(some, groups, strict=True):
                for key in self._conversation(thread_id, group):
                    yield key
            self._progress(min(at + AT_ONCE, len(ids)), len(ids))

    def _conversation(self, thread_id: str, group: list[Key]) -> list[Key]:
        """The keys to keep; none of a conversation that was deleted or has expired."""
        found = {key.text: key for key in group}
        meta = found.get(keys.meta(thread_id))
        if meta is None:
            return []
        self.thread_count += 1
        about = meta.fields()
        user = about.get(b"user", b"").decode()
        if b"ttl" not in about:
            score = float(about.get(b"updated_at") or about.get(b"created_at") or 0)
            self._threads.setdefault(user, []).extend((thread_id.encode(), score))
        inbox = found.get(keys.inbox(thread_id))
        if inbox is not None and inbox.items:
            fields: list[bytes] = inbox.items[-1][1]
            newest = dict(zip(fields[::2], fields[1::2], strict=True))[b"i"]
            self._pending += (thread_id.encode(), newest)
        return [
            # All of an ephemeral conversation goes with it.
            replace(key, expires_at=key.expires_at or meta.expires_at)
            for name, key in found.items()
            if not keys.is_transient(name)
        ]

    def _made(self) -> list[Key]:
        """What speaks of many conversations, as follows from what was read of each."""
        made = [
            Key(keys.user_threads(user_id).encode(), "zset", None, list(items))
            for user_id, items in sorted(self._threads.items())
        ]
        if self._pending:
            made.append(Key(keys.pending().encode(), "hash", None, list(self._pending)))
        return made

    @property
    def waiting_count(self) -> int:
        """Conversations with messages that no turn has finished."""
        return len(self._pending) // 2


def _batches(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[at : at + NAMES_AT_ONCE] for at in range(0, len(names), NAMES_AT_ONCE)]
