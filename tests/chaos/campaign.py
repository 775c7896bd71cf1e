"""The campaign: faults and traffic side by side, then the check."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.checker import stored, violations
from tests.chaos.clocks import MISSING, find_library
from tests.chaos.faults import CLOCK_JUMPS, FAULTS, LONG_OUTAGE, Fault, Group
from tests.chaos.traffic import Answers, Conversation, converse
from tests.chaos.world import CAMPAIGN, World, running_world, settled
from tests.support.waiting import wait_until

THREADS = 8
MESSAGES = 12
"""A conversation has as many messages, then its client begins another."""

AT_ONCE = 2
BREATH_EVERY, BREATH = 8, 2.5
"""After so many faults so many seconds without: what never works for a while proves nothing."""

REST = 12.0
"""Seconds that what is left has to vanish by itself: the sweeper waits five."""

MOSTLY = 15
"""How much more often a fault comes that a campaign is mostly made of."""

SHORT_NAMES = frozenset({"redis away for long"})
"""Left out of the short version."""


@dataclass
class Report:
    """What happened."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    conversations: list[Conversation] = field(default_factory=list[Conversation])
    answers: Answers = field(default_factory=Answers)
    starts: dict[str, int] = field(default_factory=dict[str, int])
    model_calls: int = 0
    effects_unknown: int = 0
    wrong: list[str] = field(default_factory=list[str])
    timeline: list[str] = field(default_factory=list[str])

    def summary(self) -> str:
        """For people."""
        sent = [s for c in self.conversations for s in c.sent]
        statuses = Counter(shown.status for c in self.conversations for shown in c.shown.values())
        attempts = Counter(shown.attempts for c in self.conversations for shown in c.shown.values())
        lines = [
            f"seed {self.seed}: {self.faults.total()} faults in {self.seconds:.0f} s",
            "  " + ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items())),
            f"{len(sent)} messages in {len(self.conversations)} threads, "
            f"{sum(s.tries for s in sent)} POSTs, "
            f"{sum(c.reconnects for c in self.conversations)} reconnects of readers",
            f"ended: {dict(statuses)}; attempts: {dict(sorted(attempts.items()))}; "
            f"calls of the model: {self.model_calls}; effects unknown: {self.effects_unknown}",
            f"answers: {dict(sorted(self.answers.by_status.items()))}, "
            f"slowest of an unhurt web process {self.answers.slowest:.2f} s",
            f"process starts: {self.starts}",
            *([] if find_library() else [f"no clock jumps: {MISSING}"]),
            f"violations: {len(self.wrong)}",
        ]
        return "\n".join([*lines, *(f"- {line}" for line in self.wrong[:50])])


def plan(seed: int, count: int, *, long: bool, mostly: str = "") -> list[tuple[Fault, int, float]]:
    """The faults of a seed: each with its own seed and the pause before it. Where clocks cannot be
    set, they are other ones."""
    rng = random.Random(seed)
    left_out = set[str]() if long else set(SHORT_NAMES)
    if find_library() is None:
        left_out.add(CLOCK_JUMPS)
    kinds = [f for f in FAULTS if f.name not in left_out]
    weights = [f.weight * (MOSTLY if f.name == mostly else 1) for f in kinds]
    chosen = rng.choices(kinds, weights, k=count)
    if long:
        chosen[rng.randrange(count)] = LONG_OUTAGE
    pauses = [
        rng.uniform(0.05, 0.6) + (BREATH if n % BREATH_EVERY == 0 else 0) for n in range(count)
    ]
    seeds = [rng.randrange(2**32) for _ in range(count)]
    return list(zip(chosen, seeds, pauses, strict=True))


async def run(seed: int, faults: int, *, long: bool = False, mostly: str = "") -> Report:
    """A whole campaign in a world of its own."""
    report = Report(seed)
    async with running_world(workers=3 if long else 2, own_clocks=True, **CAMPAIGN) as world:
        await _run(world, report, plan(seed, faults, long=long, mostly=mostly))
        report.starts = {c.name: c.starts for c in (world.web, *world.workers)}
        report.model_calls = world.model.asked.total()
    return report


async def _run(world: World, report: Report, faults: list[tuple[Fault, int, float]]) -> None:
    began = time.monotonic()
    stop = asyncio.Event()
    rng = random.Random(report.seed)
    clients = [
        asyncio.create_task(_client(world, report, n, random.Random(rng.random()), stop))
        for n in range(THREADS)
    ]
    try:
        await _hurt(world, report, faults)
        await settled(world)
    finally:
        stop.set()
        ended = await asyncio.gather(*clients, return_exceptions=True)
    report.seconds = time.monotonic() - began
    report.wrong += [f"a client failed: {error!r}" for error in ended if error is not None]
    await _rest(world)
    report.timeline = world.timeline
    report.wrong += await violations(world, report.conversations) + report.answers.wrong


async def _client(
    world: World, report: Report, number: int, rng: random.Random, stop: asyncio.Event
) -> None:
    thread = 0
    while not stop.is_set():
        thread += 1
        name = f"c{number}-{thread}"
        conversation = await converse(world, report.answers, name, MESSAGES, rng, stop)
        report.conversations.append(conversation)


async def _hurt(world: World, report: Report, faults: list[tuple[Fault, int, float]]) -> None:
    """One after the other, sometimes two of different groups at once."""
    places = asyncio.Semaphore(AT_ONCE)
    groups: dict[Group, asyncio.Lock] = {f.group: asyncio.Lock() for f in FAULTS}

    async def one(fault: Fault, seed: int) -> None:
        try:
            async with groups[fault.group]:
                world.note(fault.name)
                await fault.act(world, random.Random(seed))
            world.note(f"{fault.name}: over")
            report.faults[fault.name] += 1
        finally:
            places.release()

    async with asyncio.TaskGroup() as tasks:
        for fault, seed, pause in faults:
            await asyncio.sleep(pause)
            await places.acquire()
            tasks.create_task(one(fault, seed))


async def _rest(world: World) -> None:
    """Give what is left the time to vanish."""

    async def clean() -> bool:
        return not await stored(world)

    # What is left then is a violation, and named as such by the check that follows.
    with contextlib.suppress(AssertionError):
        await wait_until(clean, timeout=REST, every=0.5)
