"""The web process: composition root of pages, API and event streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
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
from core.jobs.jobs import Jobs, open_job_client
from core.live_settings.watch import watch_settings
from core.services import Services, open_services
from core.settings.source import Loaded
from core.store.connection import connect
from core.telemetry.share import Sharing, process_name, sharing
from dashboard.pages import mount_dashboard, open_looks

log = logging.getLogger(__name__)


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
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(loaded, url))
        jobs = await stack.enter_async_context(open_job_client(url))
        blocking = connect(url, blocking=True)
        stack.push_async_callback(blocking.aclose)
        hub, asks = Hub(blocking), Asks(services.store, blocking)
        name = process_name()
        shared = await stack.enter_async_context(sharing(services.store, "api", name))
        app, streams = create_app(services, hub, jobs, asks, listening, shared)
        await stack.enter_async_context(streams.revocations.running())
        for task in (hub.run(), watch_settings(services.settings, blocking)):
            _background(stack, asyncio.create_task(task))
        yield Web(app, streams, services)


def _background(stack: AsyncExitStack, task: asyncio.Task[None]) -> None:
    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)
