"""What a connection may send before anybody has signed in, tried with raw sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from api.connections import Connection, Room, connections_in
from tests.support.waiting import wait_until

GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
MIB = 1024 * 1024
MOST = 4


@dataclass
class App:
    """Answers with the length of the body, once it may."""

    may: asyncio.Event = field(default_factory=asyncio.Event)
    paths: list[str] = field(default_factory=list[str])
    bodies: list[int] = field(default_factory=list[int])
    headers: list[int] = field(default_factory=list[int])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, wait as an event stream does, and answer."""
        self.paths.append(scope["path"])
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        self.headers.append(len(scope["headers"]))
        gone = asyncio.ensure_future(receive())  # reads on, as StreamingResponse does
        await self.may.wait()
        gone.cancel()
        self.bodies.append(size)
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Served:
    """A server under test."""

    app: App
    port: int
    server: uvicorn.Server
    made: list[Connection]

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def serving(*, patient: float = 60, most: int = 100) -> AsyncGenerator[Served]:
    """The server."""
    made: list[Connection] = []

    class Noted(connections_in(Room(most))):
        """A connection that a test can look at."""

        seconds = patient

        def connection_made(self, transport: asyncio.Transport) -> None:
            made.append(self)
            super().connection_made(transport)

    app = App()
    config = uvicorn.Config(
        app, http=Noted, log_config=None, lifespan="off", ws="none", timeout_keep_alive=30
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await wait_until(lambda: server.started)
        try:
            yield Served(app, listener.getsockname()[1], server, made)
        finally:
            app.may.set()
            server.should_exit = True
            await task


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side ends it."""
    found = b""
    try:
        while part := await reader.read(65_536):
            found += part
    except ConnectionError:
        pass
    return found


async def pour(writer: asyncio.StreamWriter, part: bytes, size: int) -> int:
    """Send a part again and again; the value is how much was taken before the end."""
    sent = 0
    try:
        while sent < size:
            writer.write(part)
            await writer.drain()
            sent += len(part)
    except ConnectionError:
        pass
    return sent


# ---- size


@pytest.mark.parametrize(
    "flood",
    [
        (b"GET / HTTP/1.1\r\n", b"a:\r\n" * 4000),
        (b"GET / HTTP/1.1\r\na: ", b"x" * 16_384),
        (b"GET / HTTP/1.1\r\n", b"x" * 16_384),
        (b"GET /", b"x" * 16_384),
        (b"", b"\r\n" * 8000),
        (GET % 1 + b"GET / HTTP/1.1\r\n", b"a:\r\n" * 4000),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 16_384),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a:b\r\n" * 4000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na:", b"x" * 16_384),
    ],
    ids=["headers", "value", "name", "url", "lines", "second", "chunk", "trailers", "trailer"],
)
async def test_a_head_without_an_end_is_cut(flood: tuple[bytes, bytes]) -> None:
    """38 MB of header lines took 1 GB of the web process."""
    begin, part = flood
    async with serving() as served:
        reader, writer = await served.open()
        writer.write(begin)
        await pour(writer, part, 40 * MIB)
        await wait_until(lambda: not served.server.server_state.connections)
        writer.close()
        (made,) = served.made
        assert not made.headers or len(made.headers) <= 200
        assert await rest(reader) in (
            b"",
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n"
            b"connection: close\r\n\r\n",
        )


async def test_many_small_headers_are_refused_and_some_are_fine() -> None:
    async with serving() as served:
        served.app.may.set()
        for count, status in ((199, b"200"), (200, b"431"), (12_000, b"431")):
            reader, writer = await served.open()
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * count + b"\r\n")
            line = await reader.readline()
            assert line.split()[1] == status
            writer.close()


async def test_a_large_head_within_the_limit_comes_to_the_app() -> None:
    async with serving() as served:
        served.app.may.set()
        reader, writer = await served.open()
        for part in (b"GET / HTTP/1.1\r\nHost: x\r\ncookie: ", b"x" * 60_000, b"\r\n\r", b"\n"):
            writer.write(part)
            await writer.drain()
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()


# ---- requests behind each other


async def test_one_request_waits_behind_the_one_under_way_and_the_rest_stays_outside() -> None:
    """30 MB of requests behind each other took 1.3 GB of the web process."""
    async with serving() as served:
        reader, writer = await served.open()
        writer.write(b"".join(GET % n for n in range(1000)))
        await wait_until(lambda: served.app.paths == ["/0"])
        (made,) = served.made
        await wait_until(lambda: len(made.pipeline) == 1)
        assert made.flow.read_paused
        served.app.may.set()
        for _ in range(1000):
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        assert served.app.paths == [f"/{n}" for n in range(1000)]
        writer.write(GET % 7)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_a_flood_of_requests_behind_each_other_ends_the_connection_or_waits() -> None:
    async with serving() as served:
        _, writer = await served.open()
        flood = asyncio.create_task(pour(writer, GET % 1 * 2000, 30 * MIB))
        await wait_until(lambda: not served.server.server_state.connections)
        await flood
        assert len(served.app.paths) == 1
        (made,) = served.made
        assert len(made.pipeline) <= 1
        writer.close()


async def test_requests_with_bodies_behind_each_other() -> None:
    post = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    chunked = b"POST /%d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    bodies = [b"\r\n\r\n" * 500, b"x" * 3000, b"", GET % 1 * 20]
    async with serving() as served:
        served.app.may.set()
        reader, writer = await served.open()
        stream = b""
        for n, body in enumerate(bodies):
            stream += post % (n, len(body)) + body
            part = b"%x;ext\r\n%s\r\n" % (len(body), body) if body else b""
            stream += chunked % (n + 100) + part + b"0\r\ntrailer: x\r\n\r\n"
        for begun in range(0, len(stream), 777):
            writer.write(stream[begun : begun + 777])
            await asyncio.sleep(0)
        for _ in range(2 * len(bodies)):
            await reader.readuntil(b"ok")
        assert served.app.bodies == [len(body) for body in bodies for _ in range(2)]
        assert served.app.headers == [2] * 2 * len(bodies), "trailers are no headers"
        writer.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked", b"200"),
    ],
)
async def test_a_body_comes_in_plain_chunks_or_not_at_all(head: bytes, status: bytes) -> None:
    async with serving() as served:
        served.app.may.set()
        reader, writer = await served.open()
        writer.write(head + b"\r\nHost: x\r\n\r\n0\r\n\r\n")
        assert (await reader.readline()).split()[1] == status
        writer.close()


# ---- time


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"\r\n",
        b"GET",
        b"GET / HTTP/1.1\r\nHo",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf",
    ],
    ids=["silent", "blank", "half line", "half head", "half body", "half chunk"],
)
@pytest.mark.parametrize("before", [False, True])
async def test_who_does_not_finish_a_request_is_cut_off(begin: bytes, before: bool) -> None:
    """600 connections of each kind stayed for ever."""
    async with serving(patient=0.2) as served:
        served.app.may.set()
        reader, writer = await served.open()
        if before and begin:
            writer.write(GET % 1)
            await reader.readuntil(b"ok")
        writer.write(begin)
        assert await rest(reader) == b""
        await wait_until(lambda: not served.server.server_state.connections)
        assert not served.made[0].room.waiting
        writer.close()


async def test_who_drips_a_head_is_cut_off_and_who_sends_a_body_slowly_is_not() -> None:
    async with serving(patient=0.5) as served:
        served.app.may.set()
        dripping, dripper = await served.open()
        slow, sender = await served.open()
        dripper.write(b"GET / HTTP/1.1\r\n")
        sender.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        end, sent = asyncio.create_task(rest(dripping)), 0
        while not end.done() or sent < 200_000:
            if not end.done():
                dripper.write(b"a: b\r\n")
            if sent < 200_000:
                sender.write(b"x" * 4000)
                sent += 4000
            await asyncio.wait([end], timeout=0.02)
        assert (await slow.readline()).split()[1] == b"200"
        assert served.app.bodies == [200_000]
        sender.close()
        dripper.close()


async def test_a_long_answer_takes_as_long_as_it_takes() -> None:
    async with serving(patient=0.1) as served:
        reader, writer = await served.open()
        writer.write(GET % 1)
        await wait_until(lambda: served.app.paths == ["/1"])
        other, second = await served.open()
        assert await rest(other) == b""  # more than the patience has passed
        served.app.may.set()
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.close()
        second.close()


# ---- number


async def test_silent_connections_make_room_for_new_ones() -> None:
    """20,800 silent connections kept everybody else out."""
    async with serving(most=MOST) as served:
        served.app.may.set()
        silent = [await served.open() for _ in range(5 * MOST)]
        reader, writer = await served.open()
        writer.write(GET % 1)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert len(served.server.server_state.connections) <= MOST
        assert await rest(silent[0][0]) == b""
        for _, one in [*silent, (reader, writer)]:
            one.close()


async def test_no_request_under_way_has_to_go() -> None:
    async with serving(most=MOST) as served:
        busy = [await served.open() for _ in range(MOST)]
        for n, (_, writer) in enumerate(busy):
            writer.write(GET % n)
        await wait_until(lambda: len(served.app.paths) == MOST)
        late, one_more = await served.open()
        assert (await rest(late)).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        served.app.may.set()
        for reader, writer in busy:
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
            writer.close()
        one_more.close()
