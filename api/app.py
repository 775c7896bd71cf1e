"""The web process: composition root of pages, API and event streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from api.auth import install_auth
from api.condition import Condition
from api.middleware.meter import HttpMeter
from api.middleware.origins import Listening
from api.openai.face import openai_router
from api.routes.events import sse_router
from api.routes.export import export_router
from api.routes.metrics import metrics_router
from api.routes.settings import settings_router
from api.routes.status import status_router
from api.routes.system import system_router
from api.routes.threads import threads_router
from api.routes.tools import tools_router
from api.stream import Streams
from core.asks.client import Asks
from core.conversations.conversations import Conversations
from core.conversations.hub import Hub
from core.jobs.jobs import Jobs
from core.services import Services, open_process
from core.settings.source import Loaded
from core.telemetry.share import Sharing
from dashboard.pages import mount_dashboard, open_looks


@dataclass(frozen=True)
class Web:
    """The app and what must run beside it."""

    app: FastAPI
    streams: Streams
    services: Services


def create_app(
    services: Services, hub: Hub, jobs: Jobs, asks: Asks, listening: Listening, shared: Sharing
) -> tuple[FastAPI, Streams]:
    """All routes, the guard in front of them, the security headers around them."""
    app = FastAPI(
        title="Assistant",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    looks = open_looks()
    auth = install_auth(
        app, store=services.store, live=services.settings, listening=listening, away=looks.away
    )
    streams = Streams(services, hub, auth.revocations)
    condition = Condition(services, shared)
    conversations = Conversations(
        services.bus,
        services.threads,
        engine=lambda: services.settings.current.engine,
        ask_to_erase=jobs.erase_thread,
    )
    # Routes are tried one after another: first what is asked for most.
    app.include_router(threads_router(services.threads, conversations))
    app.include_router(sse_router(streams))
    app.include_router(openai_router(services, conversations, streams))
    app.include_router(auth.router)
    app.include_router(settings_router(services))
    app.include_router(system_router(services, condition))
    app.include_router(status_router(condition, streams))
    app.include_router(metrics_router(services.store, shared))
    app.include_router(export_router(services.store))
    app.include_router(tools_router(asks))
    mount_dashboard(app, looks)
    app.add_middleware(HttpMeter)  # last: around all others
    return app, streams


@asynccontextmanager
async def open_web(loaded: Loaded, url: str, listening: Listening) -> AsyncGenerator[Web]:
    """The app with everything open that it needs. Raises ConfigError, StoreError."""
    async with open_process(loaded, url, role="api") as it:
        app, streams = create_app(it.services, it.hub, it.jobs, it.asks, listening, it.shared)
        async with streams.revocations.running():
            yield Web(app, streams, it.services)
