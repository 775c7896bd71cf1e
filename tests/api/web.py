"""A small app behind the real guard, and ways to talk to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel

from api.auth import Auth, install_auth
from api.middleware.body import json_route
from api.middleware.guard import Away
from api.middleware.origins import Listening
from api.middleware.principal import signed_in
from core.settings.groups import SecuritySettings, Settings
from core.store.client import Store
from tests.support.waiting import wait_until

PORT = 8080
HERE = f"http://127.0.0.1:{PORT}"
PASSWORD = "correct horse battery"


@dataclass
class Live:
    """Settings that a test may replace."""

    current: Settings

    def secure(self, **values: object) -> None:
        """Change the security group."""
        security = SecuritySettings.model_validate(values)
        self.current = self.current.model_copy(update={"security": security})


@dataclass
class Web:
    """The app under test."""

    app: FastAPI
    auth: Auth
    store: Store
    live: Live
    listening: Listening = field(default_factory=lambda: Listening(PORT))

    def client(self, base_url: str = HERE, **headers: str) -> httpx.AsyncClient:
        """A client of the app, without network. ``app`` errors become answers, as on the wire."""
        transport = httpx.ASGITransport(
            self.app, raise_app_exceptions=False, client=("192.0.2.1", 50_000)
        )
        return httpx.AsyncClient(transport=transport, base_url=base_url, headers=headers)


class Thing(BaseModel):
    """A body for tests."""

    name: str
    size: int = 0


def routes() -> APIRouter:
    """Stand-ins for the routes of other files."""
    router = APIRouter(route_class=json_route(limit=2048))

    @router.get("/api/threads")
    @router.post("/api/threads")
    @router.get("/v1/models")
    @router.get("/api/system")
    async def who(request: Request) -> dict[str, str]:
        return {"user": signed_in(request).user_id}

    @router.post("/api/things")
    @router.post("/v1/things")
    async def thing(body: Thing) -> Thing:
        return body

    @router.get("/api/broken")
    async def broken() -> None:
        raise ZeroDivisionError("the cause is not for clients")

    @router.get("/")
    @router.get("/login")
    @router.get("/setup")
    @router.get("/static/app.js")
    async def page(request: Request) -> HTMLResponse:
        user = request.state.user
        return HTMLResponse(f"<p>page of {user.user_id if user else 'nobody'}</p>")

    @router.get("/healthz")
    @router.get("/readyz")
    async def health(request: Request) -> dict[str, bool]:
        return {"ok": request.state.user is None}

    assert all((who, thing, broken, page, health))
    return router


def build(store: Store, settings: Settings, *, away: Away | None = None) -> Web:
    """The app with the guard."""
    app = FastAPI(openapi_url="/api/openapi.json", docs_url=None, redoc_url=None)
    live, listening = Live(settings), Listening(PORT)
    auth = install_auth(app, store=store, live=live, listening=listening, away=away)
    app.include_router(auth.router)
    app.include_router(routes())

    @app.get("/api/events")
    async def events(request: Request) -> StreamingResponse:
        async def stream() -> AsyncGenerator[str]:
            with auth.revocations.watch(signed_in(request).credential) as ended:
                yield ": open\n\n"
                await ended.wait()
                yield "event: signed_out\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    assert events
    return Web(app, auth, store, live, listening)


@asynccontextmanager
async def serving(web: Web) -> AsyncGenerator[int]:
    """Serve the app with uvicorn on a free port, which is the value."""
    config = uvicorn.Config(web.app, log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        web.listening.port = int(sock.getsockname()[1])
        task = asyncio.create_task(server.serve(sockets=[sock]))
        await wait_until(lambda: server.started)
        try:
            yield web.listening.port
        finally:
            server.should_exit = True
            await task
