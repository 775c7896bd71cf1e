"""The span of a turn."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span

from core.engine.mailbox import Turn
from core.telemetry.tracing import AGENT, TRACER


@contextmanager
def turn_span(turn: Turn) -> Generator[Span]:
    """The whole turn; spans of model calls and tools within the block are below it."""
    span = TRACER.start_span(f"invoke_agent {AGENT}")
    if span.is_recording():
        span.set_attributes(
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": AGENT,
                "gen_ai.conversation.id": turn.thread_id,
                "assistant.run.id": turn.run_id,
                "assistant.turn.attempt": turn.attempt,
                "assistant.channel": turn.inbound.channel,
            }
        )
    # What an exception says may quote the conversation: the caller marks failures with ``fail``.
    with trace.use_span(
        span, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        yield span
