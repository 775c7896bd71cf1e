"""The inventory check: every route asks for a credential, unless it is on the open list."""

from __future__ import annotations

import re

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

OPEN = frozenset(
    {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/login"),
        ("GET", "/setup"),
        ("GET", "/favicon.ico"),
        ("POST", "/api/login"),
        ("POST", "/api/setup"),
    }
)
OPEN_PREFIXES = ("/static", "/manifest.")


def inventory(app: FastAPI) -> list[tuple[str, str]]:
    """Every (method, path) of the app; parameters are filled in, mounts are asked for a file."""
    found: set[tuple[str, str]] = set()
    for route in iter_route_contexts(app.routes):
        path = re.sub(r"\{[^}]*\}", "x", route.path or "/")
        methods = route.methods or {"GET", "POST", "PUT", "PATCH", "DELETE"}
        found.update((method, path) for method in methods if method != "HEAD")
    return sorted(found)


async def assert_default_deny(app: FastAPI, *, base_url: str = "http://127.0.0.1:8080") -> None:
    """Ask every route without a credential. The app's port must be the one of ``base_url``."""
    routes = inventory(app)
    assert len(routes) > 5, "the inventory is empty: the way to list routes has changed"
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
        answers = {
            (method, path): (await client.request(method, path)).status_code
            for method, path in routes
            if (method, path) not in OPEN
            and not (method == "GET" and path.startswith(OPEN_PREFIXES))
        }
    assert {route: status for route, status in answers.items() if status != 401} == {}
