"""Counts the requests to this process."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.metrics import HTTP_REQUESTS, HTTP_SECONDS, PULSE

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


class HttpMeter:
    """ASGI middleware around everything: counts requests, times the beginning of each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if not status and message["type"] == "http.response.start":
                status = message["status"]
                _count(scope, status, time.perf_counter() - begun)
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception:
            if not status:  # the server around us answers for us
                _count(scope, 500, time.perf_counter() - begun)
            raise
        finally:
            PULSE.beat()


def _count(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in METHODS else "(other)"
    PULSE.beat()
    HTTP_SECONDS.labels(method).observe(seconds)
    HTTP_REQUESTS.labels(route_of(scope), method, str(status)).inc()


def route_of(scope: Scope) -> str:
    """The route's template: an address itself would make a series per conversation."""
    route: Any = scope.get("route")
    if route is not None:
        return str(route.path)
    # A mount (files) says only what it is mounted on.
    return f"{scope['root_path']}/…" if scope.get("root_path") else "(none)"
