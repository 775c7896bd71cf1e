"""The exporter of traces: OTLP over HTTP, set up by the standard OTEL_* variables."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def start(process: str, role: str) -> Callable[[], None]:
    """Export all spans of this process; the value is to be called at its end, in a thread."""
    provider = TracerProvider(resource=resource(process, role), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def resource(process: str, role: str) -> Resource:
    """Who exports; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    about = {"service.instance.id": process, "assistant.role": role}
    ours = Resource.create({"service.name": "assistant", **about})
    return ours.merge(OTELResourceDetector().detect())
