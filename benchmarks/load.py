"""Many conversations at once: turns a second, the slow end, and whether any answer is missing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from statistics import median

from benchmarks.latency import TOKENS, p95
from benchmarks.machine import cpu_seconds
from benchmarks.subjects import Chat, Sample, Subject
from benchmarks.wire import Lost


@dataclass(frozen=True, slots=True)
class Load:
    """``p95`` and first tokens in seconds; ``cpu`` in milliseconds per turn, ``client`` is the load
    maker's part."""

    subject: str
    threads: int
    turns: int
    per_second: float
    p95: float
    lost: int
    cpu: float
    client: float
    first: float
    first_p95: float
    workers: int = 1


LOSSES = (Lost, OSError, TimeoutError, asyncio.IncompleteReadError)


async def under_load(subject: Subject, threads: int, each: int, *, workers: int = 1) -> Load:
    """Every conversation sends its next message as soon as it has its answer."""
    chats = [await subject.open() for _ in range(threads)]
    pids = subject.pids()
    before, client = cpu_seconds(pids), time.process_time()
    started = time.perf_counter()
    results = await asyncio.gather(*(_talk(chat, each) for chat in chats))
    seconds = time.perf_counter() - started
    cpu, client = cpu_seconds(pids) - before, time.process_time() - client
    for chat in chats:
        chat.close()
    samples = [sample for found in results for sample in found]
    firsts = [sample.first for sample in samples] or [0.0]
    done = len(samples) or 1
    return Load(
        subject.name,
        threads,
        len(samples),
        len(samples) / seconds,
        p95([sample.total for sample in samples] or [0.0]),
        threads * each - len(samples),
        1e3 * cpu / done,
        1e3 * client / done,
        median(firsts),
        p95(firsts),
        workers,
    )


async def _talk(chat: Chat, turns: int) -> list[Sample]:
    """Turns until one is lost."""
    found: list[Sample] = []
    try:
        for _ in range(turns):
            found.append(await chat.turn(TOKENS))
    except LOSSES as error:
        print(f"lost: {error!r}"[:600])
    return found
