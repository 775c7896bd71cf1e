"""Measures a turn: metrics, spans, and the names in its log lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opentelemetry.trace import Span

from core import metrics
from core.engine.mailbox import Turn
from core.engine.turn_span import turn_span
from core.errors import AssistantError
from core.events import Event, ReasoningDelta, TextDelta, ToolFinished, ToolStarted, TurnFinished
from core.logs import log_context
from core.telemetry import tracing

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class TurnClock:
    """A turn in the hands of this worker."""

    started: float

    def ended(self, events: Sequence[Event]) -> None:
        """Its end was written."""
        last = events[-1] if events else None
        status = last.status if isinstance(last, TurnFinished) else "unknown"
        metrics.TURN_SECONDS.labels(status).observe(time.perf_counter() - self.started)


@contextmanager
def taken(turn: Turn) -> Generator[TurnClock]:
    """A worker took the turn: count it, and name it in every log line of the block."""
    if turn.attempt == 1:
        waited = (datetime.now(UTC) - turn.inbound.created_at).total_seconds()
        # The clocks of two machines may differ.
        metrics.TURN_QUEUE.observe(max(waited, 0.0))
    else:
        metrics.REDELIVERIES.inc()
        if turn.crashes > 1:
            metrics.TAKEOVERS.inc()
    metrics.TURNS_RUNNING.inc()
    metrics.PULSE.beat()
    try:
        with log_context(turn.thread_id, turn.run_id):
            yield TurnClock(time.perf_counter())
    finally:
        metrics.TURNS_RUNNING.dec()
        metrics.PULSE.beat()


@dataclass(slots=True)
class _ToolCall:
    name: str
    started: float
    span: Span


@dataclass(slots=True)
class RunMeter:
    """Reads the events of a run as they pass."""

    tools: Collection[str]
    attempt: int
    started: float = field(default_factory=time.perf_counter)
    _spoke: bool = False
    _running: dict[str, _ToolCall] = field(default_factory=dict[str, _ToolCall])

    def watching(self, emit: Emit) -> Emit:
        """The same emit, with the events measured."""

        def measured(event: Event) -> None:
            match event:
                case TextDelta() | ReasoningDelta():
                    if not self._spoke:
                        self._first_token()
                case ToolStarted(call_id, name):
                    self._begin(call_id, name)
                case ToolFinished(call_id, status):
                    self._end(call_id, status)
                case _:
                    pass
            emit(event)

        return measured

    def _first_token(self) -> None:
        self._spoke = True
        if self.attempt == 1:
            metrics.TURN_FIRST_TOKEN.observe(time.perf_counter() - self.started)

    def _begin(self, call_id: str, name: str) -> None:
        # The model makes names up; they must not make series.
        known = name if name in self.tools else "(unknown)"
        span = tracing.tool_span(known, call_id)
        self._running[call_id] = _ToolCall(known, time.perf_counter(), span)

    def _end(self, call_id: str, status: str) -> None:
        call = self._running.pop(call_id, None)
        if call is None:
            return
        metrics.TOOL_CALLS.labels(call.name, status).inc()
        metrics.TOOL_SECONDS.labels(call.name).observe(time.perf_counter() - call.started)
        if status != "ok":
            tracing.fail(call.span, status)
        call.span.end()

    def stop(self) -> None:
        """The run ended; tools that it left behind have no outcome."""
        for call_id in list(self._running):
            self._end(call_id, "unknown")


@contextmanager
def measured_run(turn: Turn, tools: Collection[str]) -> Generator[RunMeter]:
    """The span of a run, and who measures its events."""
    meter = RunMeter(tools, turn.attempt)
    with turn_span(turn) as span:
        try:
            yield meter
        except asyncio.CancelledError:
            tracing.fail(span, "cancelled")
            raise
        except AssistantError as error:
            tracing.fail(span, error.code)
            raise
        except Exception as error:
            tracing.fail(span, type(error).__name__)
            raise
        finally:
            meter.stop()
