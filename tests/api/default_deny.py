"""The inventory check: every route asks for a credential, unless its entry says that it is open."""

from __future__ import annotations

import re
from collections.abc import Iterable

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api.middleware.access import Served
from dashboard.pages import FILES


def inventory(app: FastAPI) -> list[tuple[str, str]]:
    """Every (method, path) of the app; parameters are filled in, mounts are asked for a file."""
    found: set[tuple[str, str]] = set()
    for route in iter_route_contexts(app.routes):
        methods = route.methods or {"GET", "POST", "PUT", "PATCH", "DELETE"}
        found.update((method, filled(route.path or "/")) for method in methods if method != "HEAD")
    return sorted(found)


def filled(path: str) -> str:
    """A template with something for its parameters."""
    return re.sub(r"\{[^}]*\}", "x", path)


async def assert_default_deny(
    app: FastAPI, served: Iterable[Served], *, base_url: str = "http://127.0.0.1:8080"
) -> None:
    """Ask every route without a credential. The app's port must be the one of ``base_url``."""
    routes = inventory(app)
    assert len(routes) > 5, "the inventory is empty: the way to list routes has changed"
    opened = {(item.method, item.path) for item in served if item.scope == "open"}
    assert opened <= set(routes)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
        answers = {
            (method, path): (await client.request(method, path)).status_code
            for method, path in routes
            if (method, path) not in opened and not (method == "GET" and path.startswith(FILES))
        }
    assert {route: status for route, status in answers.items() if status != 401} == {}
