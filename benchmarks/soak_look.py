"""What is looked at during a soak: processes, Redis and its files."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import PROC, memory, role
from benchmarks.subjects import Ours
from core.store import keys
from core.store.redis import RedisClient

THREAD_KEYS = len(keys.lasting("t")) + 5
"""Most keys without a life time that a conversation may have: all that last as long as it does, and
five of its checkpoints."""


@dataclass(frozen=True, slots=True)
class Process:
    """Of one process: MiB, open descriptors, threads."""

    rss: float
    pss: float
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at everything. ``at``: seconds since the beginning; sizes in MiB."""

    at: float
    processes: dict[str, Process]
    keys: dict[str, int]
    """How many keys there are of each kind."""
    lasting: int
    """Conversations in the lists of their users."""
    most_keys: int
    """Keys without a life time of the conversation that has most of them."""
    strays: list[str]
    """Keys without a life time of conversations that are in no list."""
    journal: int
    """Entries of the longest journal."""
    used_memory: float
    log_on_disk: float
    turns: int


def kind(name: str) -> str:
    """What a key is, without what it is about."""
    if apart := keys.thread_and_part(name):
        return f"thread:{_short(apart[1])}"
    if apart := keys.user_and_part(name):
        return f"user:{_short(apart[1])}"
    return _short(name)


def _short(part: str) -> str:
    """The first two words, if they are no ids and no dates."""
    words = [word for word in part.split(":") if word][:2]
    return ":".join(words[:1] + [w for w in words[1:] if w.isalpha() and len(w) < 12])


def looks(pids: list[int]) -> dict[str, Process]:
    """Each process under its role, workers numbered."""
    found: dict[str, Process] = {}
    for pid in sorted(pids):
        name, held, folder = role(pid), memory([pid]), PROC / str(pid)
        while name in found:
            name += "'"
        files, threads = list((folder / "fd").iterdir()), list((folder / "task").iterdir())
        found[name] = Process(held.rss, held.pss, len(files), len(threads))
    return found


def on_disk(home: Path) -> float:
    """MiB of the server's append-only files."""
    files = (home / "redis").rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


class Watch:
    """Looks again and again."""

    def __init__(self, subject: Ours, redis: RedisClient, users: list[str]) -> None:
        self._subject = subject
        self._redis = redis
        self._users = users
        self._began = time.perf_counter()

    async def look(self, turns: int) -> Sample:
        """Look once."""
        names = [name.decode() async for name in self._redis.scan_iter(count=1000)]
        lasting = {
            thread.decode()
            for user in self._users
            for thread in await self._redis.zrange(keys.user_threads(user), 0, -1)
        }
        bound = await self._without_life_time(names)
        memory_info = await self._redis.info("memory")
        lengths = [await self._redis.xlen(keys.journal(thread)) for thread in lasting]
        return Sample(
            time.perf_counter() - self._began,
            looks(self._subject.pids()),
            dict(sorted(Counter(map(kind, names)).items())),
            len(lasting),
            max((bound[thread] for thread in lasting), default=0),
            sorted(f"{thread}: {n} keys" for thread, n in bound.items() if thread not in lasting),
            max(lengths, default=0),
            memory_info["used_memory"] / 2**20,
            on_disk(self._subject.home),
            turns,
        )

    async def _without_life_time(self, names: list[str]) -> Counter[str]:
        """Of each thread, the number of keys that stay."""
        found = Counter[str]()
        ours = [(apart[0], name) for name in names if (apart := keys.thread_and_part(name))]
        async with self._redis.pipeline(transaction=False) as pipe:
            for _, name in ours:
                pipe.ttl(name)
            for (thread, _), ttl in zip(ours, await pipe.execute(), strict=True):
                found[thread] += ttl == -1
        return +found
