"""The list of all routes: one line a subject. What follows from it is derived.

That is: what the app serves and in which order, what the guard lets through, how large a body may
be, the errors in the OpenAPI description, and the rows of docs/api.md, which a test compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from api.middleware.access import Scope, Served
from api.middleware.body import SMALL, json_route
from api.openai.face import BODY_LIMIT, add_openai
from api.routes.account import add_account, add_door, add_me
from api.routes.events import add_events
from api.routes.export import add_export
from api.routes.metrics import add_metrics
from api.routes.parts import Parts
from api.routes.settings import add_profile, add_settings
from api.routes.status import add_status
from api.routes.system import add_health, add_system
from api.routes.threads import MESSAGE_LIMIT, add_messages, add_threads
from api.routes.tools import add_tools
from core.errors import ConfigError

P = TypeVar("P", contravariant=True)


@dataclass(frozen=True)
class Subject(Generic[P]):
    """``add`` adds the routes to a router, with their whole paths. ``limit`` is the largest body
    in bytes."""

    name: str
    add: Callable[[APIRouter, P], None]
    scope: Scope
    limit: int = SMALL


# Routes are tried one after another: first what is asked for most.
ROUTES: tuple[Subject[Parts], ...] = (
    Subject("messages", add_messages, scope="chat", limit=MESSAGE_LIMIT),
    Subject("threads", add_threads, scope="chat"),
    Subject("events", add_events, scope="chat"),
    Subject("openai", add_openai, scope="chat", limit=BODY_LIMIT),
    Subject("door", add_door, scope="open"),
    Subject("me", add_me, scope="chat"),
    Subject("account", add_account, scope="admin"),
    Subject("profile", add_profile, scope="chat"),
    Subject("settings", add_settings, scope="admin"),
    Subject("health", add_health, scope="open"),
    Subject("system", add_system, scope="admin"),
    Subject("status", add_status, scope="chat"),
    Subject("metrics", add_metrics, scope="admin"),
    Subject("export", add_export, scope="admin"),
    Subject("tools", add_tools, scope="chat"),
)


def install_routes(app: FastAPI, subjects: Sequence[Subject[P]], parts: P) -> list[Served]:
    """Add all routes to the app. Raises ConfigError, which names the entry that is broken."""
    served: list[Served] = []
    for subject in subjects:
        router = APIRouter(tags=[subject.name], route_class=json_route(subject.limit))
        try:
            subject.add(router, parts)
        except Exception as error:
            raise ConfigError(
                f"the routes {subject.name!r} cannot be made: {type(error).__name__}: {error}"
            ) from error
        served += _served(subject.name, subject.scope, router)
        app.include_router(router)
    return served


def _served(name: str, scope: Scope, router: APIRouter) -> Iterator[Served]:
    for route in iter_route_contexts(router.routes):
        if route.path is None or not route.methods:
            raise ConfigError(f"the routes {name!r} have one without path or method: {route.route}")
        for method in sorted(route.methods):
            yield Served(method, route.path, scope, name)
