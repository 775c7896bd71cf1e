"""Metrics: names, how processes share them, and that documentation and dashboard know them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from redis.exceptions import ConnectionError as RedisConnectionError

from core.metrics import BOTH, PULSE, STATE, families
from core.store import keys
from core.store.client import Store
from core.telemetry import share
from core.telemetry.share import FRESH_MS, KEPT, Figures, Sharing, merged, pack, sharing
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "docs" / "grafana" / "assistant.json"
PROCESS = frozenset(
    f"process_{name}"
    for name in (
        "cpu_seconds_total",
        "max_fds",
        "open_fds",
        "resident_memory_bytes",
        "start_time_seconds",
        "virtual_memory_bytes",
    )
)
"""What Linux tells of a process; other systems tell nothing."""

SUFFIX = re.compile(r"_(?:bucket|count|sum)$")


def known() -> dict[str, Metric]:
    """All metrics of our processes by the name that a query uses."""
    own = [*families("api"), *families("worker")]
    return {m.name + ("_total" if m.type == "counter" else ""): m for m in own}


def names() -> set[str]:
    """All names, those read from Redis too."""
    return set(known()) | PROCESS | {state.name for state in STATE}


def one_process(turns: int, running: int) -> bytes:
    """The packed figures of a small process."""
    registry = CollectorRegistry()
    counter = Counter("turns_total", "Turns.", ["status"], registry=registry)
    counter.labels("completed").inc(turns)
    Gauge("running", "Running.", registry=registry).set(running)
    seconds = Histogram("seconds", "Time.", ["kind"], registry=registry, buckets=(0.1, 1.0))
    for _ in range(turns):
        seconds.labels("quick").observe(0.05)
        seconds.labels("slow").observe(0.5)
    return pack(registry.collect())


def figure(metrics: dict[str, Metric], name: str, **labels: str) -> list[float]:
    """Values of the series of that name with these labels."""
    return [
        sample.value
        for metric in metrics.values()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def test_figures_of_two_processes_stand_beside_each_other() -> None:
    both = [Figures("w1", "worker", one_process(3, 1)), Figures("w2", "worker", one_process(2, 0))]
    metrics = merged(both, {"turns": "Turns."})
    assert metrics["turns"].documentation == "Turns."
    assert figure(metrics, "turns_total", process="w1", status="completed") == [3]
    assert figure(metrics, "turns_total", process="w2", role="worker") == [2]
    assert figure(metrics, "running") == [1, 0]
    assert figure(metrics, "seconds_bucket", process="w1", kind="slow", le="0.1") == [0]
    assert figure(metrics, "seconds_bucket", process="w1", kind="slow", le="1.0") == [3]
    assert figure(metrics, "seconds_bucket", process="w1", kind="quick", le="+Inf") == [3]
    assert figure(metrics, "seconds_count", process="w2", kind="quick") == [2]
    assert figure(metrics, "seconds_sum", process="w2", kind="slow") == [1.0]


def test_a_process_that_has_gone_keeps_its_counters_and_loses_its_gauges() -> None:
    metrics = merged([Figures("w1", "worker", one_process(3, 1), fresh=False)], {})
    assert figure(metrics, "turns_total") == [3]
    assert figure(metrics, "seconds_count", kind="slow") == [3]
    assert "running" not in metrics


async def test_every_process_sees_all_and_each_key_expires(store: Store) -> None:
    web, worker = Sharing(store, "api", "a1"), Sharing(store, "worker", "w1")
    await worker.write()
    everybody = {figures.process: figures for figures in await web.everybody()}
    assert {name: figures.role for name, figures in everybody.items()} == {
        "a1": "api",
        "w1": "worker",
    }
    assert all(figures.fresh for figures in everybody.values())
    left = [await store.redis.ttl(name) for name in await store.redis.keys("*metrics*")]
    assert len(left) == 3
    assert all(0 < seconds <= KEPT for seconds in left)


async def test_a_silent_process_is_stale_and_then_forgotten(store: Store) -> None:
    web = Sharing(store, "api", "a1")
    await Sharing(store, "worker", "w1").write()
    await store.redis.pexpire(keys.telemetry("w1"), KEPT * 1000 - FRESH_MS)
    assert [f.process for f in await web.everybody() if not f.fresh] == ["w1"]
    await store.redis.delete(keys.telemetry("w1"))
    assert [f.process for f in await web.everybody()] == ["a1"]
    assert await store.redis.zrange(keys.telemetry_processes(), 0, -1) == [b"a1"]


async def test_a_process_leaves_its_last_figures_when_it_stops(store: Store) -> None:
    async with sharing(store, "worker", "w1") as shared:
        await shared.write()
        await store.redis.delete(keys.telemetry("w1"))
    assert await store.redis.exists(keys.telemetry("w1"))


async def test_a_call_of_redis_that_is_tried_again_is_counted(store: Store) -> None:
    failures = [RedisConnectionError("gone"), RedisConnectionError("gone")]

    def value() -> float:
        labels = {"error": "ConnectionError"}
        return BOTH.get_sample_value("assistant_redis_retries_total", labels) or 0.0

    before = value()

    async def call() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert await store.retry(call) == "done"
    assert value() - before == 2


def test_names_follow_the_conventions() -> None:
    for name, metric in known().items():
        assert re.fullmatch(r"(?:assistant|process)_[a-z_]+", name)
        assert metric.documentation.endswith(".")
        assert name.endswith("_total") == (metric.type == "counter")
        assert name.endswith("_seconds") or metric.type != "histogram"


def test_every_metric_is_documented_and_none_is_made_up() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = "\n".join(re.findall(r"^\| `(?:assistant|process)_.*$", text, flags=re.MULTILINE))
    first = "\n".join(line.split("|")[1] for line in table.splitlines())
    assert set(re.findall(r"`([a-z_]+)`", first)) == names()


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    return orjson.loads(DASHBOARD.read_bytes())


def test_the_dashboard_asks_for_metrics_that_exist(dashboard: dict[str, Any]) -> None:
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"\b(?:assistant|process)_[a-z_]+", target["expr"])
    }
    histograms = {name for name, metric in known().items() if metric.type == "histogram"}
    assert {SUFFIX.sub("", name) for name in asked} - names() == set()
    assert {name for name in asked if SUFFIX.sub("", name) in histograms} & histograms == set()
    ours = {name for name in names() if name.startswith("assistant_")}
    assert ours - {SUFFIX.sub("", name) for name in asked} == set(), "not on the dashboard"


def test_the_panels_of_the_dashboard_do_not_overlap(dashboard: dict[str, Any]) -> None:
    cells: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in dashboard["panels"]):
        taken = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not taken & cells
        assert place["x"] + place["w"] <= 24
        cells |= taken
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


async def test_figures_are_written_only_when_there_may_be_something_new(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "INTERVAL", 0.02)
    monkeypatch.setattr(share, "FIGURES_EVERY", 10**9)
    name = keys.telemetry("w1")

    async def written() -> bool:
        return bool(await store.redis.hexists(name, "packed"))

    async def signed(times: int) -> None:
        for _ in range(times):
            await store.redis.zadd(keys.telemetry_processes(), {"w1": 0})
            await wait_until(lambda: _score(store))

    async with sharing(store, "worker", "w1"):
        await wait_until(written)
        PULSE.taken()
        await signed(2)  # one may have been under way
        await store.redis.hdel(name, "packed")
        await signed(2)
        assert not await written()
        PULSE.beat()
        await wait_until(written)


async def _score(store: Store) -> float | None:
    return await store.redis.zscore(keys.telemetry_processes(), "w1")
