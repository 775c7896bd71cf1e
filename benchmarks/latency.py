"""One turn after another: what is added to the model's own time, what it costs, what it stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles
from typing import cast

from benchmarks.machine import cpu_seconds, role
from benchmarks.subjects import Chat, OurChat, Ours, Sample, Subject, question
from core.store import keys
from core.store.redis import RedisClient

TOKENS = 100
PAUSE_MS = 10
"""Between two tokens of the paced run: a fast local model."""

AT_MARK = 24
"""Turns that are measured at each length."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds that a subject adds, and CPU time, per turn of 100 tokens."""

    subject: str
    after: int
    pause_ms: int
    first: float
    first_p95: float
    total: float
    total_p95: float
    cpu: float
    turns: int


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes per turn while a conversation grew from ``first`` to ``last`` turns.

    ``texts`` is what was said, question and answer counted once each; ``beyond`` is what the keys
    of the conversation grew more than that; ``server`` what Redis's used_memory grew in all.
    """

    first: int
    last: int
    texts: float
    beyond: float
    server: float


async def run(chat: Chat, turns: int, pause_ms: int = 0) -> list[Sample]:
    """Turns in a row."""
    return [await chat.turn(TOKENS, pause_ms) for _ in range(turns)]


def summary(
    subject: Subject, samples: Sequence[Sample], own: Sample, cpu: float, *, after: int, pause: int
) -> Latency:
    """Figures of some turns. ``own``: the model's own seconds, which are taken off."""
    firsts = [1e3 * (sample.first - own.first) for sample in samples]
    totals = [1e3 * (sample.total - own.total) for sample in samples]
    return Latency(
        subject.name,
        after,
        pause,
        median(firsts),
        p95(firsts),
        median(totals),
        p95(totals),
        1e3 * cpu / len(samples),
        len(samples),
    )


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 stay below."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


async def side_by_side(
    raw: Subject, subjects: Sequence[Subject], *, rounds: int, turns: int, pause_ms: int = 0
) -> list[Latency]:
    """New conversations of all subjects, in turns, so that all meet the same machine."""
    own: list[Sample] = []
    found: dict[str, list[Sample]] = {subject.name: [] for subject in subjects}
    cpu = dict.fromkeys(found, 0.0)
    for _ in range(rounds):
        chat = await raw.open()
        own += await run(chat, turns, pause_ms)
        chat.close()
        for subject in subjects:
            chat = await subject.open()
            pids = subject.pids()
            before = cpu_seconds(pids)
            found[subject.name] += await run(chat, turns, pause_ms)
            cpu[subject.name] += cpu_seconds(pids) - before
            chat.close()
    model = own_time(own)
    return [
        summary(s, found[s.name], model, cpu[s.name], after=0, pause=pause_ms) for s in subjects
    ]


def own_time(samples: Sequence[Sample]) -> Sample:
    """The model's own seconds."""
    return Sample(median(s.first for s in samples), median(s.total for s in samples))


async def along(
    subject: Subject,
    own: Sample,
    marks: Sequence[int],
    look: Callable[[Chat], Awaitable[None]],
    *,
    turns: int,
) -> list[Latency]:
    """Grow one conversation and measure at each mark; ``look`` is called first."""
    chat = await subject.open()
    pids, length, found = subject.pids(), 0, list[Latency]()
    for mark in marks:
        await run(chat, mark - length)
        await look(chat)
        before = cpu_seconds(pids)
        samples = await run(chat, turns)
        cpu = cpu_seconds(pids) - before
        found.append(summary(subject, samples, own, cpu, after=mark, pause=0))
        length = mark + turns
    chat.close()
    return found


async def by_process(subject: Subject, chat: Chat, turns: int) -> dict[str, float]:
    """Milliseconds of CPU per turn of each process."""
    pids = subject.pids()
    before = {pid: cpu_seconds([pid]) for pid in pids}
    await run(chat, turns)
    return {role(pid): 1e3 * (cpu_seconds([pid]) - before[pid]) / turns for pid in pids}


class Scales:
    """Weighs a conversation of ours each time it is looked at."""

    def __init__(self, subject: Ours, redis: RedisClient) -> None:
        self._subject = subject
        self._redis = redis
        self._seen: list[tuple[int, int]] = []

    async def look(self, chat: Chat) -> None:
        """Note what it weighs now."""
        thread_id = cast("OurChat", chat).thread_id
        own = 0
        async for name in self._redis.scan_iter(match=keys.all_of_thread(thread_id), count=5000):
            own += await self._redis.memory_usage(name, samples=0) or 0
        used = (await self._redis.info("memory"))["used_memory"]
        self._seen.append((own, used))

    def storage(self, marks: Sequence[int]) -> list[Storage]:
        """Growth per turn from each mark to the next: long enough for pruning to even out."""
        said = "".join(f"t{n} " for n in range(1, TOKENS + 1))
        texts = len(question(TOKENS, 0)) + len(said)
        found: list[Storage] = []
        for (start, end), (before, after) in zip(
            pairwise(marks), pairwise(self._seen), strict=True
        ):
            turns = end - start
            grown = (after[0] - before[0]) / turns
            server = (after[1] - before[1]) / turns
            found.append(Storage(start, end, texts, grown - texts, server))
        return found


async def nothing(_chat: Chat) -> None:
    """Look at nothing."""
