"""The web process: composition root of pages, API and event streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from api.auth import Auth, make_auth
from api.condition import Condition
from api.middleware.access import Access, Served
from api.middleware.guard import Guard
from api.middleware.meter import HttpMeter
from api.middleware.origins import Listening
from api.middleware.problems import install_problems
from api.routes.openapi import describe_errors
from api.routes.parts import Parts
from api.routes.routes import ROUTES, install_routes
from api.stream import Streams
from channels import CHANNELS
from channels.running import call_for_channels
from core.services import Process, Services, open_process
from core.settings.source import Loaded
from dashboard.pages import OPEN_FILES, PAGES, Page, mount_dashboard, open_looks


@dataclass(frozen=True)
class Web:
    """The app and what must run beside it."""

    app: FastAPI
    streams: Streams
    services: Services


def create_app(process: Process, listening: Listening) -> tuple[FastAPI, Streams]:
    """All routes, the guard in front of them, the security headers around them. Raises ConfigError
    for a broken entry of ``ROUTES`` or ``PAGES``."""
    app = FastAPI(title="Assistant", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    looks = open_looks()
    services = process.services
    auth = make_auth(services.store, services.settings)
    parts = make_parts(process, auth)
    served = install_routes(app, ROUTES, parts)
    describe_errors(app, served)
    install_problems(app)
    app.add_middleware(
        Guard,
        access=Access([*served, *served_pages(PAGES)], OPEN_FILES),
        directory=auth.directory,
        live=services.settings,
        listening=listening,
        away=looks.away,
    )
    mount_dashboard(app, looks, is_set_up=auth.sign_in.is_set_up)
    app.add_middleware(HttpMeter)  # last: around all others
    return app, parts.streams


def make_parts(process: Process, auth: Auth) -> Parts:
    """What routes work with."""
    services = process.services
    return Parts(
        services=services,
        sign_in=auth.sign_in,
        accounts=auth.accounts,
        conversations=process.conversations,
        streams=Streams(services, process.hub, auth.revocations),
        jobs=process.jobs,
        asks=process.asks,
        condition=Condition(services, process.shared),
        shared=process.shared,
    )


def served_pages(pages: Sequence[Page]) -> list[Served]:
    """Pages as the guard looks at them: those behind sign-in are not for keys of scope chat."""
    return [
        Served("GET", path, "admin" if page.guarded else "open", f"page {page.name}")
        for page in pages
        for path in page.paths
    ]


@asynccontextmanager
async def open_web(loaded: Loaded, url: str, listening: Listening) -> AsyncGenerator[Web]:
    """The app with everything open that it needs. Raises ConfigError, StoreError."""
    async with open_process(loaded, url, role="api") as process:
        app, streams = create_app(process, listening)
        await call_for_channels(process, CHANNELS)
        async with streams.revocations.running():
            yield Web(app, streams, process.services)
