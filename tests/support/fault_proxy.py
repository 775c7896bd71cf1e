"""A proxy in front of Redis that loses, delays and cuts what passes through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Mode = Literal["pass", "blackhole", "reset", "drop_replies", "cut_replies", "drip"]
"""pass · blackhole: nothing gets through, either way · reset: connections break at once ·
drop_replies: requests arrive, replies never · cut_replies: requests arrive, and the connection
breaks instead of the reply · drip: replies come in single bytes."""

CHUNK = 64 * 1024


class Fuse:
    """Breaks everything at one request, counted from 1: before it arrives, or right after."""

    def __init__(self, at: int, *, after: bool, then: Callable[[], object]) -> None:
        self._left = at
        self._after = after
        self._then = then
        self.blown = asyncio.Event()

    def lets_pass(self) -> bool:
        """Count a request; whether it still arrives."""
        self._left -= 1
        if self._left == 0:
            self.blown.set()
            self._then()
        return self._left > 0 or (self._left == 0 and self._after)


@dataclass(eq=False)
class _Link:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    lossy: bool = False
    forgotten: bool = False

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class FaultProxy:
    """``mode`` and ``latency`` (seconds a chunk) may change at any time."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._links: set[_Link] = set()
        self._mode: Mode = "pass"
        self.fuse: Fuse | None = None
        self.port = 0
        self.latency = 0.0
        self.lost = 0

    @property
    def url(self) -> str:
        """Redis URL of the proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def mode(self) -> Mode:
        """What happens to bytes now."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        # TCP loses no bytes of a living connection: what lost some ends when the fault does.
        for link in list(self._links):
            if mode == "reset" or (link.lossy and not link.forgotten):
                link.abort()

    def cut(self) -> None:
        """Break every connection now; new ones work."""
        for link in list(self._links):
            link.abort()

    def lead_to(self, upstream: str) -> None:
        """Every connection breaks; new ones go to another server."""
        self._upstream = upstream
        self.cut()

    def forget(self) -> None:
        """Every connection stays open and carries nothing any more; new ones work."""
        for link in self._links:
            link.forgotten = True

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        try:
            if self._mode == "reset":
                raise ConnectionResetError
            server_reader, server = await self._connect()
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            return
        link = _Link(writer, server)
        self._links.add(link)
        pumps = [
            asyncio.create_task(self._pump(link, reader, server, replies=False)),
            asyncio.create_task(self._pump(link, server_reader, writer, replies=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            link.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._links.discard(link)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._upstream)
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(parts.path)
        return await asyncio.open_connection(parts.hostname, parts.port)

    async def _pump(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        replies: bool,
    ) -> None:
        while data := await reader.read(CHUNK):
            if self.latency:
                await asyncio.sleep(self.latency)
            if self.fuse is not None and not replies:
                if self.fuse.lets_pass():
                    writer.write(data)
                if self.fuse.blown.is_set():
                    self.mode = "reset"
                continue
            if (
                link.forgotten
                or self._mode == "blackhole"
                or (replies and self._mode == "drop_replies")
            ):
                link.lossy = True
                self.lost += 1
            elif replies and self._mode == "cut_replies":
                self.lost += 1
                return
            elif replies and self._mode == "drip":
                for at in range(len(data)):
                    writer.write(data[at : at + 1])
                    await writer.drain()
                    await asyncio.sleep(0)
            else:
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncGenerator[FaultProxy]:
    """A proxy on a free port in front of a Redis URL."""
    proxy = FaultProxy(upstream)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.accept(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        # A connection may still be on its way in, and transports close in the loop's next rounds.
        for _ in range(3):
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)
