"""A lean HTTP client: it shares two cores with what is measured, so it parses next to nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import orjson

PATIENCE = 120.0
"""Seconds after which an answer counts as lost."""

LINE = b"\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Lost(Exception):
    """No complete answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """When the marks came, on the clock of ``time.perf_counter``, and everything read."""

    first: float
    last: float
    data: bytes


class Wire:
    """One kept-alive connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head
        self._rest = b""

    def send(self, method: str, path: str, body: object = None) -> None:
        """Write a request; its answer is read later."""
        data = b"" if body is None else orjson.dumps(body)
        kind = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n" if data else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{kind}\r\n".encode() + data)

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """A small call; the JSON of its answer. Raises Lost for anything but 2xx."""
        self.send(method, path, body)
        return await self.reply()

    async def reply(self) -> Any:
        """The JSON that answers what was sent. Raises Lost for anything but 2xx."""
        async with asyncio.timeout(PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 204"):
                return None
            length = int(head.lower().partition(b"content-length:")[2].partition(LINE)[0])
            body = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 2"):
            raise Lost(f"{head.partition(LINE)[0].decode()} {body.decode()}")
        return orjson.loads(body)

    async def until(self, first: bytes, last: bytes) -> Answer:
        """Read on until ``last``, noting when ``first`` came. Raises Lost."""
        data, seen = self._rest, 0.0
        async with asyncio.timeout(PATIENCE):
            while True:
                if not seen and first in data:
                    seen = time.perf_counter()
                if last in data:
                    break
                part = await self._reader.read(262_144)
                if not part:
                    raise Lost(f"the connection ended: {data[-300:]!r}")
                data += part
        self._rest = b""
        return Answer(seen, time.perf_counter(), data)

    async def end_of_body(self, answer: Answer) -> None:
        """Read the rest of a chunked answer, so that the connection can be used again."""
        data = answer.data
        while not data.endswith(LAST_CHUNK):
            part = await self._reader.read(65_536)
            if not part:
                raise Lost("the connection ended before the answer did")
            data += part

    def close(self) -> None:
        """Let go of the connection."""
        self._writer.close()


async def open_wire(host: str, port: int, key: str = "") -> Wire:
    """Connect; ``key`` goes along as a bearer token."""
    reader, writer = await asyncio.open_connection(host, port, limit=2**20)
    credential = f"Authorization: Bearer {key}\r\n" if key else ""
    return Wire(reader, writer, f"Host: {host}:{port}\r\n{credential}")
