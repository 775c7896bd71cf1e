"""The HTTP contract of docs/api.md, as far as a chat client needs it, with a journal that a test
writes and connections that break where it wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from core.home.web_address import ADDRESS_FILE

KEY = "ak_terminal"
THREAD = "t_1"
CUT = "cut"
"""In place of an event: the connection breaks here, once."""

Answer = Sequence[dict[str, Any] | str]


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event of the run that answers."""
    return {"type": kind, **fields}


def plain(*pieces: str) -> Answer:
    """The events of an answer without surprises."""
    whole: dict[str, Any] = {"text": "".join(pieces), "message_id": "a", "model": "m", "usage": {}}
    return [
        event("turn_started", message_id="m", attempt=1),
        *(event("text_delta", text=piece) for piece in pieces),
        event("message_completed", **whole),
        event("turn_finished", status="completed"),
    ]


@dataclass
class FakeAssistant:
    """What it answers and what reached it."""

    answers: list[Answer]
    url: str = ""
    sent: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    resumed_at: list[str] = field(default_factory=list[str])
    cancelled: list[str] = field(default_factory=list[str])
    created: int = 0
    refuse_messages: list[web.Response] = field(default_factory=list[web.Response])
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    forgotten: bool = False
    """The journal was trimmed: who reconnects gets a reset."""

    stubborn: bool = False
    """Runs do not end when they are cancelled."""

    _journal: list[dict[str, Any] | str] = field(default_factory=list[dict[str, Any] | str])
    _grown: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, run_id: str, answer: Answer) -> None:
        """Write to the journal."""
        for entry in answer:
            about = {"thread_id": THREAD, "run_id": run_id, "at": "2031-01-01T00:00:00.000Z"}
            self._journal.append(entry if isinstance(entry, str) else entry | about)
        self._grown.set()

    def routes(self) -> list[web.RouteDef]:
        """The calls."""
        return [
            web.get("/api/me", self._me),
            web.post("/api/threads", self._create),
            web.get("/api/threads/{id}", self._thread),
            web.post("/api/threads/{id}/messages", self._message),
            web.post("/api/threads/{id}/retry", self._retry),
            web.get("/api/threads/{id}/events", self._events),
            web.post("/api/runs/{id}/cancel", self._cancel),
        ]

    async def _me(self, _request: web.Request) -> web.Response:
        return web.json_response({"user_id": "owner", "kind": "key", "scopes": ["chat"]})

    async def _create(self, _request: web.Request) -> web.Response:
        self.created += 1
        return web.json_response({"id": THREAD, "title": "", "created_at": ""}, status=201)

    async def _thread(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != THREAD:
            return problem(404, "not_found", "there is no conversation 'x'")
        about = {"id": THREAD, "title": "Earlier", "messages": self.messages}
        since = f"1-{len(self._journal)}"
        return web.json_response(about | {"events_since": since, "running_run_id": None})

    async def _message(self, request: web.Request) -> web.Response:
        if self.refuse_messages:
            return self.refuse_messages.pop(0)
        self.sent.append(await request.json())
        return self._accept(f"{THREAD}.{len(self.sent)}")

    async def _retry(self, _request: web.Request) -> web.Response:
        return self._accept(f"{THREAD}.again")

    def _accept(self, run_id: str) -> web.Response:
        self.add(run_id, self.answers.pop(0))
        return web.json_response({"message_id": "m", "run_id": run_id}, status=202)

    async def _cancel(self, request: web.Request) -> web.Response:
        run_id = request.match_info["id"]
        self.cancelled.append(run_id)
        if not self.stubborn:
            self.add(run_id, [event("turn_finished", status="cancelled")])
        return web.json_response({"run_id": run_id}, status=202)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID", "0-0")
        self.resumed_at.append(last)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 2000\n\n: ping\n\n")
        at = int(last.partition("-")[2])
        if self.forgotten and len(self.resumed_at) > 1:
            await response.write(b"event: reset\ndata: {}\n\n")
            at = len(self._journal)
        await self._tail(response, at)
        return response

    async def _tail(self, response: web.StreamResponse, at: int) -> None:
        while True:
            while at < len(self._journal):
                entry = self._journal[at]
                at += 1
                if isinstance(entry, str):
                    self._journal[at - 1] = event("notice", level="info", text="", run_id="other")
                    await response.write(b"event: server_shutdown\ndata: {}\n\n")
                    return
                frame = f"id: 1-{at}\nevent: {entry['type']}\ndata: ".encode()
                await response.write(frame + orjson.dumps(entry) + b"\n\n")
            self._grown.clear()
            await self._grown.wait()


def problem(status: int, code: str, detail: str, **headers: str) -> web.Response:
    """An error as the API words it."""
    body = {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail}
    kind = "application/problem+json"
    return web.Response(
        body=orjson.dumps(body), status=status, headers={"Content-Type": kind, **headers}
    )


@web.middleware
async def _signed_in(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return problem(401, "unauthorized", "this API key is not valid; make another")
    return await handler(request)


@asynccontextmanager
async def fake_assistant(home: Path, *answers: Answer) -> AsyncGenerator[FakeAssistant]:
    """A running server that looks like the assistant of this home."""
    fake = FakeAssistant(list(answers))
    app = web.Application(middlewares=[_signed_in])
    app.add_routes(fake.routes())
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    (home / "run").mkdir(parents=True, exist_ok=True)
    (home / ADDRESS_FILE).write_bytes(orjson.dumps({"url": fake.url}))
    try:
        yield fake
    finally:
        await runner.cleanup()
