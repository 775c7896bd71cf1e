"""Traces of real workers, as a collector receives them."""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from core.telemetry.tracing import SHUTDOWN_SECONDS
from tests.support.stack import events, running_stack


@dataclass
class Collector:
    """An OTLP collector: keeps what it is sent."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list[bytes])
    services: set[str] = field(default_factory=set[str])
    spans: dict[str, Span] = field(default_factory=dict[str, Span])

    async def receive(self, request: web.Request) -> web.Response:
        """POST /v1/traces."""
        body = await request.read()
        if request.headers.get("content-encoding") == "gzip":
            body = zlib.decompress(body, zlib.MAX_WBITS | 16)
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for pair in resource.resource.attributes:
                if pair.key == "service.name":
                    self.services.add(pair.value.string_value)
            for scope in resource.scope_spans:
                self.spans |= {span.name: span for span in scope.spans}
        return web.Response(content_type="application/x-protobuf")


@pytest.fixture
async def collector() -> AsyncGenerator[Collector]:
    """A collector on a free port."""
    found = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", found.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


def said(span: Span) -> dict[str, str | int]:
    """Attributes of a span, the simple ones."""
    return {
        pair.key: pair.value.string_value or pair.value.int_value
        for pair in span.attributes
        if pair.value.WhichOneof("value") in ("string_value", "int_value")
    }


async def test_a_collector_gets_the_turn_its_model_calls_and_tools(collector: Collector) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",  # so it is the end of the worker that sends
        "OTEL_SERVICE_NAME": "my-assistant",
    }
    async with running_stack(workers=1, pace=0.0, **environment) as stack, stack.client() as client:
        thread = (await client.post("/api/threads", json={})).json()["id"]
        text = "tool:current_time {}"
        await client.post(f"/api/threads/{thread}/messages", json={"text": text})
        async for _ in events(client, f"/api/threads/{thread}/events"):
            pass
        assert await stack.stop("worker1") == 0
    names = {"invoke_agent assistant", "chat scripted-demo", "execute_tool current_time"}
    assert names <= set(collector.spans)
    turn = collector.spans["invoke_agent assistant"]
    assert said(turn)["gen_ai.conversation.id"] == thread
    for name in names - {turn.name}:
        span = collector.spans[name]
        assert (span.trace_id, span.parent_span_id) == (turn.trace_id, turn.span_id)
        assert span.end_time_unix_nano >= span.start_time_unix_nano
    chat = said(collector.spans["chat scripted-demo"])
    assert chat["gen_ai.request.model"] == chat["gen_ai.response.model"] == "scripted-demo"
    assert int(chat["gen_ai.usage.input_tokens"]) > int(chat["gen_ai.usage.output_tokens"]) > 0
    assert chat["server.address"] == "127.0.0.1"
    assert collector.services == {"my-assistant"}
    assert not any(text.encode() in body for body in collector.bodies), "content stays out"


async def test_a_collector_that_is_away_holds_up_neither_turns_nor_the_end() -> None:
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    async with running_stack(workers=1, pace=0.0, **nowhere) as stack, stack.client() as client:
        thread = (await client.post("/api/threads", json={})).json()["id"]
        for text in ("hello", "hello again"):
            await client.post(f"/api/threads/{thread}/messages", json={"text": text})
        types = [event.type async for event in events(client, f"/api/threads/{thread}/events")]
        assert types.count("message_completed") == 2
        begun = time.monotonic()
        assert await stack.stop("worker1") == 0
        assert time.monotonic() - begun < SHUTDOWN_SECONDS + 3
