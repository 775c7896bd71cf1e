"""The web server: where it listens, and how it stops."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn

from api.announce import announce
from api.app import open_web
from api.connections import MAX_CONNECTIONS, Room, connections_in
from api.middleware.origins import Listening
from core.errors import ConfigError
from core.home.web_address import forget_address
from core.settings.groups import ServerSettings
from core.settings.source import Loaded

NEXT_PORTS = 20
"""How many ports are tried, from the usual one on."""
OTHER_DESCRIPTORS = 200
"""For Redis, model servers, files and the event loop itself."""

GRACE = 5
"""Seconds that open requests have to end at shutdown."""


def bind(loaded: Loaded) -> socket.socket:
    """The listening socket. When another program has the usual port (a llama.cpp server has the
    same one), the next free port is taken and said; a port that was set is taken or refused.

    Raises ConfigError when the address or port cannot be had.
    """
    server = loaded.settings.server
    is_set = loaded.sources["server.port"] != "default"
    for port in range(server.port, server.port + (1 if is_set else NEXT_PORTS)):
        try:
            return _listen(server.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or is_set:
                raise _cannot(server, error.strerror) from error
    raise _cannot(server, os.strerror(errno.EADDRINUSE))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def _cannot(server: ServerSettings, why: str | None) -> ConfigError:
    return ConfigError(
        f"cannot listen on {server.host} port {server.port} ({why}); "
        "stop what uses it, or set ASSISTANT_PORT (0 takes a free one)"
    )


def most_connections() -> int:
    """Connections that the web process has at once: some descriptors are left for all else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(16, soft - OTHER_DESCRIPTORS))


class _Server(uvicorn.Server):
    """Tells open streams of a shutdown first, so that clients hear a farewell."""

    def __init__(self, config: uvicorn.Config, farewell: Callable[[], None]) -> None:
        super().__init__(config)
        self._farewell = farewell
        self._asked_to_exit = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop on SIGTERM and SIGINT, and then return: uvicorn's own way dies of the signal at the
        end, before anything of ours is closed."""
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
            http=connections_in(Room(most_connections())),
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
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
