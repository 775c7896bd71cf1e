"""Traces of turns, by OpenTelemetry's conventions for generative AI. No text of anybody is in them.

Only OpenTelemetry's interface is used here: without an exporter a span is an empty object. The
standard variable OTEL_EXPORTER_OTLP_ENDPOINT in the environment switches exporting on.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from core.settings.groups import Settings
from core.settings.source import traces_wanted

log = logging.getLogger(__name__)

EXPORT_MODULE = "core.telemetry.tracing_export"
"""Needs the extra ``otel``; loaded only when traces are wanted."""

AGENT = "assistant"
SHUTDOWN_SECONDS = 3.0

TRACER = trace.get_tracer(AGENT)
"""Stands in for that of the exporter, once there is one."""


@asynccontextmanager
async def exporting(process: str, role: str) -> AsyncGenerator[None]:
    """Export traces until the end of the block, if the environment asks for it."""
    if not traces_wanted():
        yield
        return
    try:
        export: Any = await asyncio.to_thread(importlib.import_module, EXPORT_MODULE)
    except ImportError:
        log.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the exporter is missing; "
            "run pip install 'modular-assistant[otel]'"
        )
        yield
        return
    stop = export.start(process, role)
    log.info("traces are exported")
    try:
        yield
    finally:
        await _stop(stop)


async def _stop(stop: Callable[[], None]) -> None:
    """Send what is left. A collector that is away must not hold up the end of the process."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        stop()
        with suppress(RuntimeError):  # the loop has gone: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    # Not to_thread: the end of the loop waits for those.
    threading.Thread(target=work, name="last traces", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(SHUTDOWN_SECONDS):
            await done.wait()


def model_span(settings: Settings, thread_id: str) -> Span:
    """One call of a model. The caller ends it, see ``describe_call`` and ``fail``."""
    model = settings.model
    name = f"chat {model.name}" if model.name else "chat"
    span = TRACER.start_span(name, kind=SpanKind.CLIENT)
    if span.is_recording():
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "local",
                "gen_ai.conversation.id": thread_id,
                "gen_ai.request.stream": True,
                **({"gen_ai.request.model": model.name} if model.name else {}),
                **_address(model.base_url),
            }
        )
    return span


def _address(base_url: str) -> dict[str, str | int]:
    """Host and port of the server; nothing else of its address."""
    parts = urlsplit(base_url)
    if not parts.hostname:
        return {}
    return {"server.address": parts.hostname, "server.port": parts.port or _port(parts.scheme)}


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def tool_span(name: str, call_id: str) -> Span:
    """One tool call. The caller ends it."""
    span = TRACER.start_span(f"execute_tool {name}")
    if span.is_recording():
        span.set_attributes(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": name,
                "gen_ai.tool.call.id": call_id,
                "gen_ai.tool.type": "function",
            }
        )
    return span


def fail(span: Span, kind: str) -> None:
    """Mark a span as failed. ``kind`` is a class of errors, never a message."""
    if span.is_recording():
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR))
