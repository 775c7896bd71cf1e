"""A client that stops reading is cut off; nobody else notices."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.types import Receive, Scope, Send

from api.stalled import CutsOffStalled
from tests.support.waiting import wait_until

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PART = b"x" * 16_384


class Impatient(CutsOffStalled):
    """Waits no half minute."""

    stalled_after = 0.2


@dataclass
class Endless:
    """An app that sends for as long as its client is there; ``limit`` ends the answer before."""

    limit: int = 10**9
    began: int = 0
    ended: int = 0
    sent: int = 0
    errors: list[str] = field(default_factory=list[str])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream; notes how it ends."""
        self.began += 1
        assert (await receive())["type"] == "http.request"
        gone = asyncio.ensure_future(receive())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(self.limit):
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": PART, "more_body": True})
                self.sent += 1
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:
            self.errors.append(repr(error))
            raise
        finally:
            gone.cancel()
            self.ended += 1


@asynccontextmanager
async def serving(app: Endless) -> AsyncGenerator[tuple[uvicorn.Server, int]]:
    """The server and its port."""
    config = uvicorn.Config(
        app, http=Impatient, log_config=None, lifespan="off", ws="none", timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # connections inherit it
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await wait_until(lambda: server.started)
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


def mute(port: int) -> socket.socket:
    """A client that asks and does not read. What the system buffers is less than an answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
    client.connect(("127.0.0.1", port))
    client.sendall(REQUEST)
    return client


def was_reset(client: socket.socket) -> bool:
    """Whether the other side has let go, seen without reading."""
    watch = select.poll()
    watch.register(client, select.POLLHUP | select.POLLERR)
    return bool(watch.poll(0))


async def test_a_client_that_does_not_read_is_cut_off_and_its_answer_ends() -> None:
    app = Endless()
    async with serving(app) as (server, port):
        with mute(port) as client:
            await wait_until(lambda: app.ended == 1)
            await wait_until(lambda: not server.server_state.connections)
            await wait_until(lambda: was_reset(client))
        assert app.errors == []


async def test_a_client_that_reads_is_served_on_beside_it() -> None:
    app = Endless()
    async with serving(app) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await reader.readexactly(1000)
        with mute(port):
            await wait_until(lambda: app.began == 2)
            while not app.ended:
                await reader.readexactly(100_000)
        await reader.readexactly(1_000_000)
        assert len(server.server_state.connections) == 1
        writer.close()
        await wait_until(lambda: app.ended == 2)


async def test_an_answer_that_ended_and_is_not_fetched_is_dropped_too() -> None:
    app = Endless(limit=4)  # more than the system takes, less than uvicorn waits for
    async with serving(app) as (server, port):
        with mute(port) as client:
            await wait_until(lambda: app.ended == 1)
            await wait_until(lambda: not server.server_state.connections)
            await wait_until(lambda: was_reset(client))
        assert (app.sent, app.errors) == (4, [])
