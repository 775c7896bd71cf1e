"""A stand-in for the API that keeps its contract, with answers written in advance.

``python -m tests.browser.fake_api`` serves it for working on the pages by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import orjson
import uvicorn
from fastapi import FastAPI, Request
from sse_starlette import EventSourceResponse
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.pages import mount_dashboard
from tests.browser.demo import DEMO_SCRIPTS, FALLBACK, old_threads
from tests.browser.fake_settings import add_settings
from tests.browser.fake_state import Json, Thread, World, now

COOKIE = "asst_session"
OPEN = ("/static/", "/login", "/setup", "/api/login", "/api/setup")


class Session:
    """Sets ``request.state.user`` from the cookie, and turns away who has none."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self.app = app
        self.world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            cookie = dict(scope["headers"]).get(b"cookie", b"").decode()
            user = "owner" if self.world.signed_in and f"{COOKIE}=" in cookie else None
            scope.setdefault("state", {})["user"] = user
            path = scope["path"]
            if user is None and path.startswith("/api/") and not path.startswith(OPEN):
                answer = problem(401, "unauthorized", "sign in first")
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def problem(status: int, code: str, detail: str, **extra: Any) -> Response:
    """An RFC 9457 problem."""
    body = {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail}
    headers = {"Retry-After": str(extra.pop("retry_after"))} if "retry_after" in extra else {}
    return JSONResponse(
        body | extra, status, headers=headers, media_type="application/problem+json"
    )


def create_app(world: World) -> FastAPI:
    """The fake API and the real pages."""
    app = FastAPI(openapi_url=None)
    _add_door(app, world)
    _add_threads(app, world)
    _add_turns(app, world)
    _add_stream(app, world)
    _add_status(app, world)
    add_settings(app, world)
    app.add_middleware(Session, world=world)
    mount_dashboard(app)
    return app


def _thread(world: World, thread_id: str) -> Thread | Response:
    return world.threads.get(thread_id) or problem(404, "not_found", "no such conversation")


async def _body(world: World, request: Request) -> Json:
    data = cast("Json", orjson.loads(await request.body() or b"{}"))
    world.calls.append((request.method, request.url.path, data))
    return data


def _add_door(app: FastAPI, world: World) -> None:
    @app.post("/api/login")
    async def login(request: Request) -> Response:
        if (await _body(world, request))["password"] != world.password:
            return problem(401, "wrong_password", "the password is wrong")
        return _signed_in(world)

    @app.post("/api/setup")
    async def setup(request: Request) -> Response:
        data = await _body(world, request)
        if not world.setup_token:
            return problem(410, "already_set_up", "set-up is done; sign in")
        if data["token"] != world.setup_token:
            return problem(403, "wrong_setup_token", "this set-up link is not valid any more")
        world.setup_token, world.password = "", data["password"]
        return _signed_in(world)

    @app.post("/api/logout")
    async def logout() -> Response:
        world.signed_in = False
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE)
        return answer

    @app.get("/api/me")
    async def me() -> Json:
        return {"user_id": "owner", "kind": "session", "scopes": ["admin", "chat"]}


def _signed_in(world: World) -> Response:
    world.signed_in = True
    answer = Response(status_code=204)
    answer.set_cookie(COOKIE, "s1", httponly=True, samesite="strict")
    return answer


def _add_threads(app: FastAPI, world: World) -> None:
    @app.get("/api/threads")
    async def threads(limit: int = 50, cursor: int = 0) -> Json:
        every = sorted(world.threads.values(), key=lambda t: t.updated_at, reverse=True)
        page = every[cursor : cursor + limit]
        following = str(cursor + limit) if len(every) > cursor + limit else None
        return {"items": [thread.summary() for thread in page], "next": following}

    @app.post("/api/threads")
    async def create(request: Request) -> Response:
        title = (await _body(world, request)).get("title", "")
        thread = Thread(f"t{len(world.threads) + 1}", title)
        world.threads[thread.id] = thread
        return JSONResponse(thread.summary(), 201)

    @app.get("/api/threads/{thread_id}")
    async def one(thread_id: str, limit: int = 50, before: int | None = None) -> Any:
        thread = _thread(world, thread_id)
        if isinstance(thread, Response):
            return thread
        end = len(thread.messages) if before is None else before
        first = max(end - limit, 0)
        messages = thread.messages[first:end]
        if before is None:
            queued = [m for m in thread.waiting if "retry_of" not in m]
            messages += [{**m, "role": "user", "tools": [], "status": "queued"} for m in queued]
        return thread.summary() | {
            "messages": messages,
            "messages_before": first or None,
            "pending_approvals": [],
            "running_run_id": thread.running,
            "events_since": thread.since,
        }

    @app.patch("/api/threads/{thread_id}")
    async def rename(thread_id: str, request: Request) -> Any:
        world.threads[thread_id].title = (await _body(world, request))["title"]
        return world.threads[thread_id].summary()

    @app.delete("/api/threads/{thread_id}")
    async def delete(thread_id: str) -> Response:
        world.delete(thread_id)
        return Response(status_code=204)


def _add_turns(app: FastAPI, world: World) -> None:
    @app.post("/api/threads/{thread_id}/messages")
    async def send(thread_id: str, request: Request) -> Response:
        data = await _body(world, request)
        if world.refuse_next:
            refusal, world.refuse_next = world.refuse_next, None
            return problem(**refusal)
        thread = world.threads[thread_id]
        message = {"id": data["id"], "text": data["text"], "created_at": now()}
        run_id = world.submit(thread, message)
        return JSONResponse({"message_id": data["id"], "run_id": run_id}, 202)

    @app.post("/api/threads/{thread_id}/retry")
    async def retry(thread_id: str, request: Request) -> Response:
        await _body(world, request)
        thread = world.threads[thread_id]
        asked = [m for m in thread.messages if m["role"] == "user"][-1]
        message_id = f"retry-{world.runs}"
        run_id = world.submit(
            thread,
            {
                "id": message_id,
                "text": f"{asked['text']} again",
                "created_at": now(),
                "retry_of": asked["id"],
            },
        )
        return JSONResponse({"message_id": message_id, "run_id": run_id}, 202)

    @app.post("/api/runs/{run_id}/cancel")
    async def cancel(run_id: str, request: Request) -> Response:
        await _body(world, request)
        await world.gate("cancel heard").wait() if "cancel heard" in world.gates else None
        world.cancelled.add(run_id)
        world.gate(f"cancel {run_id}").set()
        return JSONResponse({}, 202)

    @app.post("/api/approvals/{approval_id}")
    async def decide(approval_id: str, request: Request) -> Response:
        decision = (await _body(world, request))["decision"]
        thread = next(t for t in world.threads.values() if t.running)
        resolved = {"approval_id": approval_id, "decision": decision}
        thread.emit("approval_resolved", str(thread.running), resolved)
        world.gate(f"approval {approval_id}").set()
        return JSONResponse({})


def _add_stream(app: FastAPI, world: World) -> None:
    @app.get("/api/threads/{thread_id}/events")
    async def events(thread_id: str, request: Request, since: str = "") -> Response:
        thread = _thread(world, thread_id)
        if isinstance(thread, Response):
            return thread
        after = request.headers.get("last-event-id") or since
        world.connections += 1
        return EventSourceResponse(_tail(world, thread, int(after.split("-")[-1] or 0)), ping=15)


def _add_status(app: FastAPI, world: World) -> None:
    @app.get("/readyz")
    @app.get("/api/status")
    async def status() -> Json:
        return {"trouble": world.trouble}

    @app.get("/api/status/events")
    async def events() -> Response:
        return EventSourceResponse(_status(world), ping=15)


async def _status(world: World) -> AsyncIterator[dict[str, str]]:
    world.status_streams += 1
    try:
        while True:
            changed = world.changed
            data = orjson.dumps({"trouble": world.trouble}).decode()
            yield {"event": "status", "data": data}
            await changed.wait()
    finally:
        world.status_streams -= 1


async def _tail(world: World, thread: Thread, position: int) -> AsyncIterator[dict[str, str | int]]:
    yield {"retry": 2000, "comment": "open"}
    sent = 0
    while True:
        changed = thread.changed
        while position < len(thread.journal):
            entry_id, kind, data = thread.journal[position]
            position += 1
            sent += 1
            yield {"id": entry_id, "event": kind, "data": orjson.dumps(data).decode()}
            if world.cut_after and sent >= world.cut_after:
                return
        if thread.deleted:
            data = {"type": "thread_deleted", "thread_id": thread.id, "run_id": "", "at": now()}
            entry_id = f"1700000000000-{position + 1}"
            yield {"id": entry_id, "event": "thread_deleted", "data": orjson.dumps(data).decode()}
            return
        await changed.wait()


def main() -> None:
    """Serve on port 8099 with demo answers."""

    async def serve() -> None:
        world = World(scripts=DEMO_SCRIPTS, fallback=FALLBACK, threads=old_threads())
        config = uvicorn.Config(create_app(world), port=8099, log_level="warning")
        await uvicorn.Server(config).serve()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
