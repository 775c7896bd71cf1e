"""A long run under mixed traffic: ``python -m benchmarks.soak --minutes 600`` says what grows.

It ends early on Ctrl-C or SIGTERM, with the figures so far; the exit code is 0 if all is well.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import uvloop

from benchmarks.machine import describe
from benchmarks.members import member_key
from benchmarks.report import table
from benchmarks.slopes import WARM_UP, Line, line
from benchmarks.soak_look import THREAD_KEYS, Sample, Watch
from benchmarks.soak_traffic import Tally, Traffic
from benchmarks.subjects import ROOT, Ours, model_server, ours
from core.home.embedded import socket_url
from core.store.connection import connect
from core.store.redis import RedisClient

RESULTS = ROOT / "bench-results"
USERS = ("ann", "ben", "cleo")
EPHEMERAL_TTL = 60
"""Seconds that conversations of stateless clients are kept: short, so that they come and go."""

QUIET = 8.0
"""Seconds after the last message until erasing jobs are done and what hung up is noticed."""

MOST_GROWTH = 0.05
SPARE_FILES = 8
"""Descriptors that a process may have more at the end than while it warmed up: connections to Redis
stay open, as many as were ever needed at once."""

OURS_IN_PYTHON = ("supervisor", "web", "worker")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, with how many workers, how many people of each habit."""

    minutes: float = 10
    workers: int = 1
    people: int = 2
    every: float = 5
    pause: float = 0.2


@dataclass
class Report:
    """What was found."""

    machine: dict[str, object]
    plan: Plan
    samples: list[Sample] = field(default_factory=list[Sample])
    tally: Tally = field(default_factory=Tally)
    calm: Sample | None = None
    """The last look, some seconds after the traffic ended."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise."""

    name: str
    good: bool
    found: str


async def soak(plan: Plan, stop: asyncio.Event) -> Report:
    """Run until the time is over or ``stop`` is set."""
    report = Report(describe(), plan)
    async with model_server() as url, ours(url) as subject:
        subject.environment["ENGINE_EPHEMERAL_TTL"] = str(EPHEMERAL_TTL)
        await subject.start(plan.workers)
        redis = connect(socket_url(subject.home))
        try:
            await _observe(report, subject, redis, stop)
        finally:
            await redis.aclose()
    return report


async def _observe(report: Report, subject: Ours, redis: RedisClient, stop: asyncio.Event) -> None:
    plan = report.plan
    user_keys = [await member_key(redis, user) for user in USERS]
    traffic = Traffic(subject, user_keys, plan.pause, stop, report.tally)
    watch = Watch(subject, redis, list(USERS))
    running = asyncio.create_task(traffic.run(plan.people))
    end = time.perf_counter() + 60 * plan.minutes
    try:
        while not stop.is_set() and not running.done():
            report.samples.append(await watch.look(traffic.tally.turns))
            _say(report.samples[-1])
            left = end - time.perf_counter()
            if left <= 0:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(min(plan.every, left)):
                    await stop.wait()
    finally:
        stop.set()
        await running
    await traffic.check_kept()
    await asyncio.sleep(QUIET)
    report.calm = await watch.look(traffic.tally.turns)


def _say(sample: Sample) -> None:
    held = ", ".join(f"{name} {p.rss:.0f}" for name, p in sample.processes.items())
    print(
        f"{sample.at:6.0f} s  {sample.turns:6} turns  RSS MiB: {held}  "
        f"keys {sum(sample.keys.values()):6}  threads {sample.lasting}",
        flush=True,
    )


# ---- what it means


def series(samples: list[Sample]) -> Iterator[tuple[str, Line]]:
    """Every figure that is followed, with the line through it."""
    times = [sample.at for sample in samples]
    for name in samples[0].processes:
        held = [s.processes[name] for s in samples if name in s.processes]
        if len(held) < len(samples):
            continue  # it was replaced meanwhile; the verdict says so
        yield f"{name}: RSS MiB", line(times, [p.rss for p in held])
        yield f"{name}: PSS MiB", line(times, [p.pss for p in held])
        yield f"{name}: descriptors", line(times, [p.files for p in held])
        yield f"{name}: threads", line(times, [p.threads for p in held])
    yield "conversations that last", line(times, [s.lasting for s in samples])
    yield "keys", line(times, [sum(s.keys.values()) for s in samples])
    for kind in sorted({kind for sample in samples for kind in sample.keys}):
        yield f"keys {kind}", line(times, [s.keys.get(kind, 0) for s in samples])
    yield "longest journal", line(times, [s.journal for s in samples])
    yield "Redis used_memory MiB", line(times, [s.used_memory for s in samples])
    yield "log on disk MiB", line(times, [s.log_on_disk for s in samples])


def warming_up(samples: list[Sample]) -> list[Sample]:
    """Those that ``line`` leaves out, and one more."""
    return samples[: int(WARM_UP * len(samples)) + 1]


def verdicts(report: Report) -> list[Verdict]:
    """What must hold."""
    lost = report.tally.lost
    found = [Verdict("nothing lost", not lost, f"{len(lost)} of {report.tally.turns} turns")]
    last = report.calm
    if len(report.samples) < 3 or last is None:
        return [*found, Verdict("long enough to tell", False, f"{len(report.samples)} samples")]
    first = report.samples[0]
    same = set(first.processes) == set(last.processes)
    found.append(Verdict("the same processes", same, ", ".join(last.processes)))
    for name, about in series(report.samples):
        process, _, what = name.partition(": ")
        if process.rstrip("'") in OURS_IN_PYTHON and what == "RSS MiB":
            good = about.growth < MOST_GROWTH
            found.append(Verdict(f"{name} grows < 5 %", good, f"{100 * about.growth:+.1f} %"))
    for name in first.processes if same else ():
        files = [sample.processes[name].files for sample in warming_up(report.samples)]
        before, after = max(files), last.processes[name].files
        good = after <= before + SPARE_FILES
        found.append(Verdict(f"{name}: no more descriptors", good, f"{before} → {after}"))
    good = not last.strays
    found.append(Verdict("no keys of deleted conversations", good, f"{last.strays[:5]}"))
    good = last.most_keys <= THREAD_KEYS
    text = f"{last.most_keys} of {THREAD_KEYS}"
    found.append(Verdict("keys of a lasting conversation", good, text))
    return found


def text(report: Report) -> str:
    """The figures and the verdict."""
    parts = [
        f"{report.samples[-1].at if report.samples else 0:.0f} s, "
        + ", ".join(f"{n} {what}" for what, n in sorted(report.tally.done.items()))
    ]
    if len(report.samples) > 2:
        rows = [
            [name, f"{about.start:.1f}", f"{about.end:.1f}", f"{about.per_hour:+.1f}"]
            for name, about in series(report.samples)
        ]
        parts.append(table(("after the warm-up", "from", "to", "per hour"), rows))
    rows = [[v.name, v.found, "ok" if v.good else "**miss**"] for v in verdicts(report)]
    parts.append(table(("verdict", "found", ""), rows))
    parts += [f"lost: {what}" for what in report.tally.lost[:10]]
    return "\n\n".join(parts)


def write(report: Report, folder: Path) -> Path:
    """Keep everything as JSON."""
    folder.mkdir(exist_ok=True)
    file = folder / f"soak-{time.strftime('%Y%m%d-%H%M%S')}.json"
    data = {"report": report, "verdicts": verdicts(report)}
    file.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    return file


async def run(plan: Plan, folder: Path) -> int:
    """The exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    report = await soak(plan, stop)
    print(f"\n{text(report)}\n\n{write(report, folder)}")
    return 0 if all(verdict.good for verdict in verdicts(report)) else 1


def main() -> int:
    """Read the options and run."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=usual.minutes, metavar="N")
    parser.add_argument("--workers", type=int, default=usual.workers, metavar="N")
    parser.add_argument("--people", type=int, default=usual.people, metavar="N", help="per habit")
    parser.add_argument("--every", type=float, default=usual.every, help="seconds between looks")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args()
    plan = Plan(options.minutes, options.workers, options.people, options.every)
    return uvloop.run(run(plan, options.results))


if __name__ == "__main__":
    sys.exit(main())
