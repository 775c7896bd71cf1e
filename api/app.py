"""The web process: composition root of pages, API and event streams."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.announce import announce, forget_address
from api.auth import install_auth
from api.condition import Condition
from api.export import export_router
from api.metrics import HttpMeter, metrics_router
from api.openai_compat import openai_router
from api.origins import Listening
from api.settings import settings_router
from api.sse import Streams, sse_router
from api.stalled import CutsOffStalled
from api.status import status_router
from api.system import system_router
from api.threads import threads_router
from core.conversations.hub import Hub
from core.engine.jobs import Jobs, open_job_client
from core.errors import ConfigError
from core.live_settings.watch import watch_settings
from core.services import Services, open_services
from core.settings.groups import ServerSettings
from core.settings.source import Loaded
from core.store.connection import connect
from core.telemetry.share import Sharing, process_name, sharing
from dashboard.pages import mount_dashboard, open_looks

log = logging.getLogger(__name__)

GRACE = 5
"""Seconds that open requests have to end at shutdown."""


@dataclass(frozen=True)
class Web:
    """The app and what must run beside it."""

    app: FastAPI
    streams: Streams
    services: Services


def create_app(
    services: Services, hub: Hub, jobs: Jobs, listening: Listening, shared: Sharing
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
    # Routes are tried one after another: first what is asked for most.
    app.include_router(threads_router(services, jobs))
    app.include_router(sse_router(streams))
    app.include_router(openai_router(services, streams))
    app.include_router(auth.router)
    app.include_router(settings_router(services))
    app.include_router(system_router(services, condition))
    app.include_router(status_router(condition, streams))
    app.include_router(metrics_router(services.store, shared))
    app.include_router(export_router(services.store))
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
        hub = Hub(blocking)
        name = process_name()
        shared = await stack.enter_async_context(sharing(services.store, "api", name))
        app, streams = create_app(services, hub, jobs, listening, shared)
        await stack.enter_async_context(streams.revocations.running())
        for task in (hub.run(), watch_settings(services.settings, blocking)):
            _background(stack, asyncio.create_task(task))
        yield Web(app, streams, services)


def _background(stack: AsyncExitStack, task: asyncio.Task[None]) -> None:
    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)


def bind(settings: ServerSettings) -> socket.socket:
    """The listening socket. Raises ConfigError when the address or port cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror}); "
            "stop what uses it, or set ASSISTANT_PORT (0 takes a free one)"
        ) from error
    listener.listen(2048)
    return listener


class _Server(uvicorn.Server):
    """Tells open streams of a shutdown first, so that clients hear a farewell."""

    def __init__(self, config: uvicorn.Config, farewell: Callable[[], None]) -> None:
        super().__init__(config)
        self._farewell = farewell
        self._asked_to_exit = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop on SIGTERM and SIGINT, and then return: uvicorn's own way dies of the signal at the
        end,
        before anything of ours is closed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._asked_to_exit.set()

    async def main_loop(self) -> None:
        """uvicorn's loop, every two seconds instead of ten times in one: half of what an idle web
        process costs. Each tick renews the ``Date`` header; a tenth of a second is its unit."""
        tick = 0
        while not await self.on_tick(tick):
            tick = (tick + 20) % 864_000
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await self._asked_to_exit.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._farewell()
        await super().shutdown(sockets)


async def run_web(loaded: Loaded, url: str, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    port = listener.getsockname()[1]
    async with open_web(loaded, url, Listening(port)) as web:
        config = uvicorn.Config(
            web.app,
            http=CutsOffStalled,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            h11_max_incomplete_event_size=64 * 1024,
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=30,
            lifespan="off",
        )
        server = _Server(config, web.streams.farewell)
        announcement = asyncio.create_task(announce(web.services, port))
        try:
            await server.serve(sockets=[listener])
        finally:
            announcement.cancel()
            forget_address(loaded.settings.home)
