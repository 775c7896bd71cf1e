"""GET /metrics of real processes: figures add up, over two workers and a worker that dies."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from api.middleware.meter import HttpMeter, route_of
from core.metrics import API
from tests.support.stack import Stack, events, running_stack
from tests.support.waiting import wait_until

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class Scrape:
    """One answer of /metrics."""

    text: str
    series: dict[Series, float] = field(default_factory=dict[Series, float])

    def __post_init__(self) -> None:
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in self.series, "a series must come once"
                self.series[key] = sample.value

    def sum(self, name: str, **labels: str) -> float:
        """The sum over the series of that name with these labels."""
        wanted = labels.items()
        return sum(
            value
            for (found, own), value in self.series.items()
            if found == name and wanted <= dict(own).items()
        )

    def workers(self) -> set[str]:
        """Processes whose memory is known: the living ones."""
        return {
            dict(labels)["process"]
            for name, labels in self.series
            if name == "process_resident_memory_bytes" and dict(labels)["role"] == "worker"
        }


async def scrape(client: httpx.AsyncClient) -> Scrape:
    """Ask for the metrics."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)


async def scrape_when(client: httpx.AsyncClient, name: str, value: float, **labels: str) -> Scrape:
    """The first answer in which the sum has the value: workers tell every five seconds."""
    last = await scrape(client)

    async def reached() -> bool:
        nonlocal last
        last = await scrape(client)
        return last.sum(name, **labels) == value

    await wait_until(reached, timeout=20, every=0.25)
    return last


async def say(client: httpx.AsyncClient, *texts: str) -> None:
    """One conversation; returns when everything is answered."""
    thread = (await client.post("/api/threads", json={})).json()["id"]
    for text in texts:
        answer = await client.post(f"/api/threads/{thread}/messages", json={"text": text})
        assert answer.status_code == 202
    async for _ in events(client, f"/api/threads/{thread}/events"):
        pass


async def test_the_figures_of_two_workers_add_up() -> None:
    async with running_stack(workers=2) as stack, stack.client() as client:
        await say(client, "bench:40:5", "tool:current_time {}", "always error")
        await say(client, "hello", "hello again")
        seen = await scrape_when(client, "assistant_turn_duration_seconds_count", 5)
        await check_who_may_ask(stack)
    turns = "assistant_turn_duration_seconds_count"
    assert seen.sum(turns, status="completed") == 4
    assert seen.sum(turns, status="failed") == 1
    assert seen.sum("assistant_turn_queue_seconds_count") == 5
    assert seen.sum("assistant_turn_first_token_seconds_count") == 4
    assert seen.sum("assistant_turns_running") == 0
    assert seen.sum("assistant_turn_redeliveries_total") == 0
    calls = "assistant_model_call_duration_seconds_count"
    # The tool's turn asks twice, and once more for the grade.
    assert seen.sum(calls, outcome="ok", place="local") == 6
    assert seen.sum(calls, outcome="error", place="local") == 1
    assert seen.sum("assistant_model_errors_total", kind="other") == 1
    assert seen.sum("assistant_model_tokens_total", direction="output") > 40
    assert seen.sum("assistant_tool_calls_total", tool="current_time", status="ok") == 1
    assert seen.sum("assistant_tool_duration_seconds_count", tool="current_time") == 1
    assert seen.sum("assistant_journal_write_seconds_count") >= 5
    lag = seen.sum("assistant_journal_lag_seconds_sum")
    assert lag >= seen.sum("assistant_journal_write_seconds_sum") > 0
    posted = {"method": "POST", "route": "/api/threads/{thread_id}/messages"}
    assert seen.sum("assistant_http_requests_total", **posted, status="202") == 5
    assert seen.sum("assistant_http_requests_total", route="/api/threads", status="201") == 2
    assert seen.sum("assistant_workers") == len(seen.workers()) == 2
    assert seen.sum("assistant_redis_up") == 1
    assert seen.sum("assistant_pending_threads") == 0
    assert seen.sum("assistant_redis_used_memory_bytes") > 100_000


async def check_who_may_ask(stack: Stack) -> None:
    """401 without a credential, OpenMetrics for who prefers it."""
    async with httpx.AsyncClient(base_url=stack.url) as stranger:
        assert (await stranger.get("/metrics")).status_code == 401
    async with stack.client() as client:
        refused = {"route": "(none)", "method": "GET", "status": "401"}
        assert (await scrape(client)).sum("assistant_http_requests_total", **refused) == 1
        asked = {"accept": "application/openmetrics-text; version=1.0.0"}
        answer = await client.get("/metrics", headers=asked)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = [family.name for family in openmetrics.text_string_to_metric_families(answer.text)]
    assert "assistant_turn_duration_seconds" in families


async def test_counters_never_go_backwards_when_a_worker_is_killed() -> None:
    async with running_stack(workers=2) as stack, stack.client() as client:
        await say(client, "one", "two", "three")
        before = await scrape_when(client, "assistant_turn_duration_seconds_count", 3)
        old = before.workers()
        for name in ("worker1", "worker2"):
            await stack.stop(name, signal.SIGKILL)
        await stack.start_worker("worker3")
        await say(client, "four")
        after = await scrape_when(client, "assistant_turn_duration_seconds_count", 4)
        assert len(after.workers() - old) == 1
        growing = ("_total", "_bucket", "_count", "_sum")
        for key, value in before.series.items():
            if key[0].endswith(growing) and not key[0].startswith("assistant_redis"):
                assert after.series[key] >= value, key


async def test_what_waits_and_runs_is_seen_and_so_is_a_handover() -> None:
    async with (
        running_stack(workers=1, ENGINE_DRAIN_SECONDS="0") as stack,
        stack.client() as client,
    ):
        thread = (await client.post("/api/threads", json={})).json()["id"]
        for text in ("bench:150:100", "hello"):
            await client.post(f"/api/threads/{thread}/messages", json={"text": text})
        seen = await scrape(client)
        assert seen.sum("assistant_pending_threads") == 1
        assert seen.sum("assistant_inbox_messages") == 2
        async with client.stream("GET", f"/api/threads/{thread}/events"):
            await scrape_when(client, "assistant_stream_readers", 1, scope="thread")
            await scrape_when(client, "assistant_turns_running", 1)
        await scrape_when(client, "assistant_stream_readers", 0, scope="thread")
        await stack.stop("worker1")
        await stack.start_worker("worker2")
        seen = await scrape_when(client, "assistant_turn_redeliveries_total", 1)
        assert seen.sum("assistant_turn_handovers_total") == 1
        assert seen.sum("assistant_turn_takeovers_total") == 0
        assert f"[thread_id={thread} run_id={thread}." in stack.log("worker1")


# ---- the middleware alone


def counted(labels: Mapping[str, str]) -> float:
    """Requests so far with these labels."""
    return API.get_sample_value("assistant_http_requests_total", dict(labels)) or 0.0


@pytest.mark.parametrize(
    ("scope", "route"),
    [
        ({"type": "http", "root_path": ""}, "(none)"),
        ({"type": "http", "root_path": "/static"}, "/static/…"),
    ],
)
def test_what_is_no_route_makes_no_series_per_address(scope: Scope, route: str) -> None:
    assert route_of(scope) == route


async def test_a_request_that_breaks_before_its_answer_counts_as_500() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    labels = {"route": "(none)", "method": "(other)", "status": "500"}
    before = counted(labels)
    with pytest.raises(ZeroDivisionError):
        await HttpMeter(broken)({"type": "http", "method": "BREW"}, receive, send)
    assert counted(labels) - before == 1
