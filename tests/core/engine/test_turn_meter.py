"""What is measured of a turn, and what its trace says: names and figures, never words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from core.conversations.inbound import Message
from core.engine.mailbox import Turn
from core.engine.turn_meter import measured_run, taken
from core.errors import ToolError
from core.events import (
    Event,
    ReasoningDelta,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)
from core.metrics import WORKER

ROOT = Path(__file__).resolve().parents[3]


def a_turn(*, attempt: int = 1, crashes: int = 1) -> Turn:
    """A message in the hands of a worker."""
    message = Message("m_1", "owner", "t_1", "web", "the secret plan")
    return Turn(message, "t_1.run", "1-0", 1, attempt, crashes, cancelled=False, ttl="")


class Counted:
    """By how much figures have grown."""

    def __init__(self) -> None:
        self._before = self._now()

    def _now(self) -> dict[tuple[str, str], float]:
        return {
            (sample.name, ",".join(sample.labels.values())): sample.value
            for metric in WORKER.collect()
            for sample in metric.samples
        }

    def __call__(self, name: str, labels: str = "") -> float:
        """Growth of one series."""
        key = (name, labels)
        return self._now().get(key, 0.0) - self._before.get(key, 0.0)


@cache
def exporter() -> InMemorySpanExporter:
    """Where this process's spans go: OpenTelemetry takes one provider per process."""
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    return spans


@pytest.fixture
def spans() -> Generator[InMemorySpanExporter]:
    """The spans of a test."""
    found = exporter()
    found.clear()
    yield found
    found.clear()


def attributes(span: ReadableSpan) -> dict[str, object]:
    """What a span says."""
    return dict(span.attributes or {})


def test_a_turn_that_begins_again_is_no_second_wait_and_no_second_first_token() -> None:
    counted = Counted()
    for attempt, crashes in ((1, 1), (2, 1), (3, 2)):
        turn = a_turn(attempt=attempt, crashes=crashes)
        with taken(turn) as clock, measured_run(turn, ()) as meter:
            emit = meter.watching(lambda event: None)
            emit(ReasoningDelta("hm"))
            emit(TextDelta("yes"))
        clock.ended([TurnFinished("completed")])
    assert counted("assistant_turn_queue_seconds_count") == 1
    assert counted("assistant_turn_first_token_seconds_count") == 1
    assert counted("assistant_turn_duration_seconds_count", "completed") == 3
    assert counted("assistant_turn_redeliveries_total") == 2
    assert counted("assistant_turn_takeovers_total") == 1
    assert counted("assistant_turns_running") == 0


def test_events_pass_unchanged_and_in_order() -> None:
    events: list[Event] = [TextDelta("a"), ToolStarted("c", "x", {}), ToolFinished("c", "ok", "")]
    passed: list[Event] = []
    with measured_run(a_turn(), ["x"]) as meter:
        for event in events:
            meter.watching(passed.append)(event)
    assert passed == events


def test_tools_count_by_outcome_and_invented_names_make_no_series() -> None:
    counted = Counted()
    with measured_run(a_turn(), ["shell"]) as meter:
        emit = meter.watching(lambda event: None)
        emit(ToolStarted("1", "shell", {}))
        emit(ToolStarted("2", "rm_-rf", {}))
        emit(ToolFinished("2", "refused", "there is no such tool"))
        emit(ToolFinished("9", "ok", "nobody started this"))
    assert counted("assistant_tool_calls_total", "shell,unknown") == 1
    assert counted("assistant_tool_calls_total", "(unknown),refused") == 1
    assert counted("assistant_tool_duration_seconds_count", "shell") == 1
    names = {sample.labels.get("tool") for m in WORKER.collect() for sample in m.samples}
    assert "rm_-rf" not in names


def test_tools_are_below_their_turn_in_the_trace(spans: InMemorySpanExporter) -> None:
    with measured_run(a_turn(attempt=2), ["clock"]) as meter:
        emit = meter.watching(lambda event: None)
        emit(ToolStarted("c1", "clock", {"zone": "the secret zone"}))
        emit(ToolFinished("c1", "error", "the secret result"))
    tool, turn = spans.get_finished_spans()
    assert (tool.name, turn.name) == ("execute_tool clock", "invoke_agent assistant")
    assert tool.parent is not None
    assert turn.context is not None
    assert tool.parent.span_id == turn.context.span_id
    assert attributes(turn) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "assistant",
        "gen_ai.conversation.id": "t_1",
        "assistant.run.id": "t_1.run",
        "assistant.turn.attempt": 2,
        "assistant.channel": "web",
    }
    assert attributes(tool) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "clock",
        "gen_ai.tool.call.id": "c1",
        "gen_ai.tool.type": "function",
        "error.type": "error",
    }


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ToolError("the secret words"), ToolError.code), (ValueError("secret"), "ValueError")],
)
def test_a_failed_turn_names_the_class_of_its_error_only(
    spans: InMemorySpanExporter, error: Exception, kind: str
) -> None:
    with pytest.raises(type(error)), measured_run(a_turn(), ()):
        raise error
    (span,) = spans.get_finished_spans()
    assert attributes(span)["error.type"] == kind
    assert not span.status.is_ok
    assert "secret" not in span.to_json()


def test_without_an_endpoint_no_exporter_is_loaded() -> None:
    code = (
        "import sys, asyncio; import graph.process\n"
        "from core.telemetry.tracing import exporting, TRACER\n"
        "async def main():\n"
        "    async with exporting('w', 'worker'):\n"
        "        assert not TRACER.start_span('x').is_recording()\n"
        "asyncio.run(main())\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry.exporter')]\n"
        "assert 'core.telemetry.tracing_export' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "", "OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
