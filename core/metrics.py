"""What is counted and timed: every metric, and which kind of process fills it.

Like loggers, metrics belong to the process: they are made here once and reach nothing outside.
``core.telemetry.share`` brings those of all processes together for `GET /metrics`.
docs/operations.md explains each of them; a test holds the two lists together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Place = Literal["local", "cloud"]
Outcome = Literal["ok", "error", "cancelled"]

BOTH = CollectorRegistry()
API = CollectorRegistry()
WORKER = CollectorRegistry()

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5)
"""Seconds: a call of Redis is 0.2 to 2 ms, and given up after 2.8 s."""

ANSWER = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds until something begins: ours are milliseconds, a model that loads takes a minute."""

LONG = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Seconds of turns, model calls and tools; 1800 is the longest turn by default."""

# ---- turns

TURN_SECONDS = Histogram(
    "assistant_turn_duration_seconds",
    "From taking a message to its last event written.",
    ["status"],
    registry=WORKER,
    buckets=LONG,
)
TURN_FIRST_TOKEN = Histogram(
    "assistant_turn_first_token_seconds",
    "From taking a message to the first piece of text or thinking; first attempts only.",
    registry=WORKER,
    buckets=ANSWER,
)
TURN_QUEUE = Histogram(
    "assistant_turn_queue_seconds",
    "From accepting a message to taking it; first attempts only.",
    registry=WORKER,
    buckets=ANSWER,
)
TURNS_RUNNING = Gauge("assistant_turns_running", "Turns under way.", registry=WORKER)
REDELIVERIES = Counter(
    "assistant_turn_redeliveries_total",
    "Turns that began again: attempts after the first.",
    registry=WORKER,
)
TAKEOVERS = Counter(
    "assistant_turn_takeovers_total",
    "Turns that began again after a worker vanished in the middle of them.",
    registry=WORKER,
)
HANDOVERS = Counter(
    "assistant_turn_handovers_total",
    "Turns that a stopping worker gave back unfinished.",
    registry=WORKER,
)
LOST = Counter(
    "assistant_turns_lost_total",
    "Turns that another worker took because this one was silent for too long.",
    registry=WORKER,
)
DEAD_LETTERS = Counter(
    "assistant_turns_given_up_total",
    "Messages that stopped their worker too often and became dead letters.",
    registry=WORKER,
)

# ---- the model and tools

MODEL_SECONDS = Histogram(
    "assistant_model_call_duration_seconds",
    "One call of a model with its retries, from request to last piece.",
    ["place", "outcome"],
    registry=WORKER,
    buckets=LONG,
)
MODEL_FIRST_PIECE = Histogram(
    "assistant_model_first_piece_seconds",
    "From the request to the first piece of a model's answer.",
    registry=WORKER,
    buckets=ANSWER,
)
MODEL_ERRORS = Counter(
    "assistant_model_errors_total",
    "Failed attempts to get an answer of a model, those that were retried included.",
    ["place", "kind"],
    registry=WORKER,
)
MODEL_TOKENS = Counter(
    "assistant_model_tokens_total",
    "Tokens read and written by models, estimated where a server does not report them.",
    ["place", "direction"],
    registry=WORKER,
)
TOOL_CALLS = Counter(
    "assistant_tool_calls_total",
    "Tool calls by outcome; names that do not exist count as (unknown).",
    ["tool", "status"],
    registry=WORKER,
)
TOOL_SECONDS = Histogram(
    "assistant_tool_duration_seconds",
    "One tool call.",
    ["tool"],
    registry=WORKER,
    buckets=(0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0),
)

# ---- Redis

JOURNAL_WRITE = Histogram(
    "assistant_journal_write_seconds",
    "One write of events to the journal, retries included.",
    registry=WORKER,
    buckets=QUICK,
)
JOURNAL_LAG = Histogram(
    "assistant_journal_lag_seconds",
    "From an event to its being readable in the journal; text waits up to 40 ms to be joined.",
    registry=WORKER,
    buckets=QUICK,
)
REDIS_RETRIES = Counter(
    "assistant_redis_retries_total",
    "Calls of Redis that failed and were tried again.",
    ["error"],
    registry=BOTH,
)

# ---- the web process

HTTP_REQUESTS = Counter(
    "assistant_http_requests_total",
    "Requests by route; those refused before routing have none.",
    ["route", "method", "status"],
    registry=API,
)
HTTP_SECONDS = Histogram(
    "assistant_http_response_seconds",
    "From a request to the beginning of its answer.",
    ["method"],
    registry=API,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 3.0, 10.0),
)
STREAM_READERS = Gauge(
    "assistant_stream_readers",
    "Open event streams: of one conversation, or of all of a user.",
    ["scope"],
    registry=API,
)
SLOW_READERS = Counter(
    "assistant_stream_readers_dropped_total",
    "Connections ended because their client read too slowly; clients come back with their last id.",
    registry=API,
)


@dataclass(frozen=True)
class StateMetric:
    """A figure of the installation, read from Redis when the metrics are asked for."""

    name: str
    help: str


STATE = (
    StateMetric("assistant_redis_up", "Whether Redis answered; 0: other processes are missing."),
    StateMetric("assistant_redis_used_memory_bytes", "Memory that Redis uses."),
    StateMetric("assistant_workers", "Workers with a fresh sign of life."),
    StateMetric("assistant_pending_threads", "Conversations with messages that wait or run."),
    StateMetric("assistant_inbox_messages", "Messages that wait or run."),
    StateMetric("assistant_dead_letters", "Messages given up and kept for the administrator."),
)


class Pulse:
    """Whether turns or requests came by: where none did, nearly all figures are what they were."""

    def __init__(self) -> None:
        self._beat = True

    def beat(self) -> None:
        """Something was counted."""
        self._beat = True

    def taken(self) -> bool:
        """Whether there was a beat since this was asked last."""
        beat, self._beat = self._beat, False
        return beat


PULSE = Pulse()


OWN = {"api": (API,), "worker": (WORKER,)}
"""What a process of a role counts besides what all count. Channels have nothing of their own."""


def registries(role: str) -> tuple[CollectorRegistry, ...]:
    """Where a process of this role counts."""
    return (BOTH, *OWN.get(role, ()))


def families(role: str) -> Iterator[Metric]:
    """The metrics of this process with their present values, its memory, CPU and files too."""
    collectors: tuple[Collector, ...] = (*registries(role), ProcessCollector(registry=None))
    for collector in collectors:
        yield from collector.collect()


def show_zeros() -> None:
    """Make the usual series of a worker exist from its start: a rate needs the 0 before the 1."""
    for status in ("completed", "failed", "cancelled"):
        TURN_SECONDS.labels(status)
    for outcome in ("ok", "error", "cancelled"):
        MODEL_SECONDS.labels("local", outcome)
    for direction in ("input", "output"):
        MODEL_TOKENS.labels("local", direction)
