"""A soak sees what grows, and ends with its figures when it is told to."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.slopes import line
from benchmarks.soak import Plan, Report, text, verdicts
from benchmarks.soak_look import Process, Sample, kind
from benchmarks.soak_traffic import Tally
from benchmarks.subjects import ROOT
from core.store import keys

PLAN = Plan(minutes=1)


def sample(at: float, *, rss: float = 100, files: int = 20, most: int = 10) -> Sample:
    """A look at a web process."""
    processes = {"web": Process(rss, rss, files, 3)}
    return Sample(at, processes, {"asst:graph": 1}, 5, most, [], 100, 4.0, 5.0, int(at))


def missed(report: Report) -> list[str]:
    """What is not well."""
    return [verdict.name for verdict in verdicts(report) if not verdict.good]


def report(samples: list[Sample], calm: Sample, *lost: str) -> Report:
    """A finished soak."""
    return Report({}, PLAN, samples, Tally(lost=list(lost)), calm)


def test_the_line_leaves_the_warm_up_out() -> None:
    times = [float(t) for t in range(0, 100, 10)]
    found = line(times, [1000, 900, 500, 0, *(t * 2 for t in times[4:])])
    assert line(times, [9, 9, 9, *(t * 2 for t in times[3:])]).per_hour == pytest.approx(7200)
    assert found.end > found.start
    flat = line(times, [50.0] * 10)
    assert (flat.per_hour, flat.growth, flat.start) == (0, 0, 50)


def test_a_calm_soak_has_no_complaints() -> None:
    steady = [sample(t) for t in range(0, 60, 5)]
    assert missed(report(steady, sample(65, files=24))) == []


def test_growth_and_leaks_are_found() -> None:
    growing = [sample(t, rss=100 + t / 2) for t in range(0, 60, 5)]
    assert missed(report(growing, sample(65))) == ["web: RSS MiB grows < 5 %"]
    steady = [sample(t) for t in range(0, 60, 5)]
    assert missed(report(steady, sample(65, files=40))) == ["web: no more descriptors"]
    assert missed(report(steady, sample(65, most=99))) == ["keys of a lasting conversation"]
    assert missed(report(steady, sample(65), "talk: Lost()")) == ["nothing lost"]


def test_two_looks_are_not_enough_to_tell() -> None:
    short = report([sample(0), sample(5)], sample(9))
    assert missed(short) == ["long enough to tell"]
    assert "**miss**" in text(short)


def test_keys_are_counted_by_kind_not_by_name() -> None:
    assert kind(keys.meta("t_abc234")) == kind(keys.meta("t_xyz567")) == "thread:meta"
    assert kind(keys.cancel_flag("t_abc", "t_abc.run23")) == "thread:cx"
    assert kind(keys.checkpoint("t_abc", "c")) == "thread:cp:c"
    assert kind(keys.usage_day("ann", "2026-11-22")) == "user:usage"
    assert kind(keys.worker("host-1-a2b")) == "asst:worker"


async def test_it_runs_and_tells_what_it_found_when_it_is_stopped(tmp_path: Path) -> None:
    soak = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.soak", "--minutes", "5", "--every", "0.5"),
        *("--people", "1", "--results", str(tmp_path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert soak.stdout is not None
    said = b""
    async with asyncio.timeout(50):
        while said.count(b"turns") < 5:
            said += await soak.stdout.readline()
        soak.send_signal(signal.SIGTERM)
        rest, _ = await soak.communicate()
    assert soak.returncode in (0, 1), rest.decode()  # so short, memory may still be growing
    [file] = tmp_path.iterdir()
    found = orjson.loads(file.read_bytes())
    assert found["report"]["tally"]["lost"] == []
    assert sum(found["report"]["tally"]["done"].values()) > 0
    assert len(found["report"]["samples"]) >= 5
    good = {verdict["name"] for verdict in found["verdicts"] if verdict["good"]}
    assert {"nothing lost", "the same processes", "no keys of deleted conversations"} <= good
