"""The benchmarks compute what they say."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from benchmarks.latency import own_time, p95, summary
from benchmarks.load import Load
from benchmarks.machine import cpu_seconds, group
from benchmarks.report import OURS, Results, Target, markdown, table, targets
from benchmarks.rest import Stored
from benchmarks.scale import Fairness
from benchmarks.subjects import OneWire, Raw, Sample, model_server
from benchmarks.where import areas
from benchmarks.wire import Lost


def test_the_models_own_time_is_taken_off() -> None:
    own = own_time([Sample(0.001, 0.002)] * 3)
    found = summary(Raw(""), [Sample(0.011, 0.022)] * 4, own, 0.04, after=5, pause=0)
    assert (found.first, found.total, found.cpu) == pytest.approx((10, 20, 10))
    assert (found.after, found.turns) == (5, 4)


def test_p95_is_the_slow_end() -> None:
    assert p95([float(n) for n in range(1, 101)]) == pytest.approx(95.05)
    assert p95([7.0]) == 7.0


@pytest.mark.parametrize(
    ("figure", "least", "verdict"),
    [(7.9, False, "ok"), (8.1, False, "**miss**"), (7.9, True, "**miss**"), (8.1, True, "ok")],
)
def test_a_target_says_whether_it_is_met(figure: float, least: bool, verdict: str) -> None:
    assert Target("x", 8, figure, "ms", least=least).row()[-1] == verdict


def test_a_table_has_a_line_below_its_head() -> None:
    assert table(("a", "b"), [["1", "2"]]) == "| a | b |\n| --- | --: |\n| 1 | 2 |"


def test_a_lost_answer_is_a_miss_whatever_the_speed() -> None:
    results = Results(load=[Load(OURS, 10, 99, 500.0, 0.1, 1, 5.0, 0.1, 0.01, 0.02)])
    assert [goal.row()[-1] for goal in targets(results)] == ["ok", "ok", "**miss**"]


def test_parts_that_were_left_out_leave_no_trace() -> None:
    names = ("at", "cores", "cpu", "memory_gib", "python", "load_average")
    assert markdown(Results(machine=dict.fromkeys(names, "?"))).count("|") == 0


def test_more_workers_busy_users_and_a_full_store_are_judged() -> None:
    many = Load(OURS, 50, 99, 500.0, 0.1, 1, 5.0, 0.1, 0.012, 0.034, workers=4)
    quiet = Fairness("60 conversations", 20, 11, 22, 33, 44, 1, 7.5)
    stored = [Stored(n, 8, 12, cpu, 0.5, 9, 100) for n, cpu in ((0, 10.0), (10_000, 13.0))]
    names = ("at", "cores", "cpu", "memory_gib", "python", "load_average")
    machine: dict[str, object] = {name: "?" for name in names}
    results = Results(machine=machine, scale=[many], fairness=[quiet], stored=stored)
    rows = [goal.row() for goal in targets(results)]
    assert [(row[2], row[3]) for row in rows] == [("2.0", "**miss**"), ("1.3 ×", "**miss**")]
    said = markdown(results)
    assert "| 4 | 50 | 500 | 12 / 34 ms | 0.10 s | 1 |" in said
    assert "| 60 conversations | 20 | 11 / 22 ms | 33 / 44 ms | 1 | 7.5 |" in said
    assert "| 10,000 | 8.0 ms | 12.0 ms | 13.0 ms | 0.50 % | 9.0 | 100 MiB |" in said


def test_samples_count_for_the_innermost_area_and_waiting_does_not_count() -> None:
    loop = "run (uvloop/__init__.py:1);Runner.run (asyncio/runners.py:2)"
    node = f"{loop};assistant (nodes/assistant.py:3)"
    wait = "retry (core/store/client.py:4);send (redis/asyncio/client.py:5) 3"
    raw = f"{loop} 90\n{node} 2\n{node};{wait}"
    found, functions = areas(raw)
    assert dict(found) == {"nodes": 2, "redis-py and hiredis": 3}
    assert functions["assistant (nodes/assistant.py)"] == 5


async def test_a_group_is_a_process_with_its_children() -> None:
    code = "import time; sum(range(10**6)); time.sleep(60)"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    try:
        assert child.pid in group(os.getpid())
        assert group(child.pid) == [child.pid]
        assert cpu_seconds([os.getpid()]) > 0
    finally:
        child.kill()
        await child.wait()
    with pytest.raises(OSError, match=r"Invalid argument|No such process"):
        cpu_seconds([child.pid])


async def test_the_client_sees_the_models_pace_and_refuses_errors() -> None:
    async with model_server() as url:
        chat = await Raw(url).open()
        assert isinstance(chat, OneWire)
        sample = await chat.turn(30, 2)
        assert sample.total > 0.05
        assert sample.first < sample.total
        with pytest.raises(Lost):
            await chat.wire.call("POST", "/v1/nothing", {})
        chat.close()
