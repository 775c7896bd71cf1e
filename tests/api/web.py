"""A small app behind the real guard, and ways to talk to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel

from api.auth import Auth, make_auth
from api.middleware.access import Access, Served
from api.middleware.guard import Away, Guard
from api.middleware.origins import Listening
from api.middleware.principal import signed_in
from api.middleware.problems import install_problems
from api.routes.account import add_account, add_door, add_me
from api.routes.openapi import describe_errors
from api.routes.routes import Subject, install_routes
from api.routes.system import OPENAPI, openapi
from core.accounts.accounts import Accounts
from core.accounts.revocations import Revocations
from core.accounts.sign_in import SignIn
from core.settings.groups import SecuritySettings, Settings
from core.store.client import Store
from dashboard.pages import OPEN_FILES
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
    listening: Listening
    served: list[Served]

    def client(self, base_url: str = HERE, **headers: str) -> httpx.AsyncClient:
        """A client of the app, without network. ``app`` errors become answers, as on the wire."""
        transport = httpx.ASGITransport(
            self.app, raise_app_exceptions=False, client=("192.0.2.1", 50_000)
        )
        return httpx.AsyncClient(transport=transport, base_url=base_url, headers=headers)


@dataclass(frozen=True)
class SomeParts:
    """What the routes of the app under test work with."""

    sign_in: SignIn
    accounts: Accounts
    revocations: Revocations


class Thing(BaseModel):
    """A body for tests."""

    name: str
    size: int = 0


def add_stand_ins(router: APIRouter, parts: SomeParts) -> None:
    """Stand-ins for routes of scope chat."""
    router.add_api_route("/api/threads", who, methods=["GET"])
    router.add_api_route("/api/threads", who, methods=["POST"])
    router.add_api_route("/api/threads/{thread_id}", who, methods=["GET"])
    router.add_api_route("/v1/models", who, methods=["GET"])
    router.add_api_route("/v1/things", thing, methods=["POST"])

    @router.get("/api/events")
    async def events(request: Request) -> StreamingResponse:
        async def stream() -> AsyncGenerator[str]:
            with parts.revocations.watch(signed_in(request).credential) as ended:
                yield ": open\n\n"
                await ended.wait()
                yield "event: signed_out\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")


def add_closed(router: APIRouter, parts: SomeParts) -> None:
    """Stand-ins for routes of scope admin."""
    router.add_api_route("/api/system", who, methods=["GET"])
    router.add_api_route("/api/things", thing, methods=["POST"])
    router.add_api_route("/api/broken", broken, methods=["GET"])
    router.add_api_route("/", page, methods=["GET"])
    router.add_api_route(OPENAPI, openapi, methods=["GET"], include_in_schema=False)


def add_open(router: APIRouter, parts: SomeParts) -> None:
    """Stand-ins for routes that are open."""
    for path in ("/login", "/setup"):
        router.add_api_route(path, page, methods=["GET"])
    for path in ("/healthz", "/readyz"):
        router.add_api_route(path, health, methods=["GET"])


async def who(request: Request) -> dict[str, str]:
    """Say who asks."""
    return {"user": signed_in(request).user_id}


async def thing(body: Thing) -> Thing:
    """Read a body."""
    return body


async def broken() -> None:
    """Fail in a way that nobody foresaw."""
    raise ZeroDivisionError("the cause is not for clients")


async def page(request: Request) -> HTMLResponse:
    """A page."""
    user = request.state.user
    return HTMLResponse(f"<p>page of {user.user_id if user else 'nobody'}</p>")


async def health(request: Request) -> dict[str, bool]:
    """Whether nobody was looked up."""
    return {"ok": request.state.user is None}


SUBJECTS: tuple[Subject[SomeParts], ...] = (
    Subject("door", add_door, scope="open"),
    Subject("me", add_me, scope="chat"),
    Subject("account", add_account, scope="admin"),
    Subject("stand-ins", add_stand_ins, scope="chat", limit=2048),
    Subject("closed", add_closed, scope="admin", limit=2048),
    Subject("open", add_open, scope="open"),
)


def build(store: Store, settings: Settings, *, away: Away | None = None) -> Web:
    """The app with the guard."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    live, listening = Live(settings), Listening(PORT)
    auth = make_auth(store, live)
    served = install_routes(app, SUBJECTS, SomeParts(auth.sign_in, auth.accounts, auth.revocations))
    describe_errors(app, served)
    install_problems(app)
    app.add_api_route("/static/app.js", page, methods=["GET"])
    app.add_api_route("/api/threads/x/unlisted", who, methods=["GET"])
    app.add_middleware(
        Guard,
        access=Access(served, OPEN_FILES),
        directory=auth.directory,
        live=live,
        listening=listening,
        away=away,
    )
    return Web(app, auth, store, live, listening, served)


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
