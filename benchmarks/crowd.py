"""Many readers of event streams in one process: ``python -m benchmarks.crowd``.

It is told on stdin who to be (one line of JSON, a Plan) and says when all of them are connected;
each further line asks for a Report. Readers are bare protocols: what they do for an event must be
little beside what the web process does for it.
"""

from __future__ import annotations

import asyncio
import re
import resource
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import orjson
import uvloop

FRAME = re.compile(rb"\bid: (\d+)-(\d+)\nevent: ")
END = b"\n\n"
AT_ONCE = 50
"""Connections that are opened at the same time."""

PATIENCE = 30.0
"""Seconds that so many may take to be let in."""

SMALL = 4096
"""Receive buffer of those who do not read, so that they are noticed soon."""

SEGMENT = 1448
"""Bytes in a packet of theirs, as on a real network: buffers are measured in packets, and those of
the loopback are so long that megabytes fit into them."""

GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP


@dataclass(frozen=True, slots=True)
class Seat:
    """One reader: whose stream it follows, and whether it only keeps the connection open."""

    key: str
    path: str
    mute: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to connect, and all readers."""

    host: str
    port: int
    seats: list[Seat]


@dataclass(frozen=True, slots=True)
class Report:
    """What came so far.

    ``delays``: pairs of milliseconds (from the entry in the journal to its arrival) and how many.
    ``got``: for each seat how many entries, and the sum of their ids, by which gaps are found.
    ``cut``: readers whose connection ended. ``gone``: how many of the mute were cut off.
    ``cpu``: seconds that this process itself has used.
    """

    delays: list[tuple[int, int]]
    got: list[tuple[int, int]]
    cut: int
    gone: int
    cpu: float


def number(milliseconds: int, sequence: int) -> int:
    """An entry's id as one number; sums of them tell which entries came."""
    return (milliseconds << 12) + sequence


@dataclass
class Reader(asyncio.Protocol):
    """Counts entries and how late they came."""

    request: bytes
    delays: Counter[int]
    open: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    refused: bytes = b""
    count: int = 0
    total: int = 0
    _rest: bytes = b""
    _transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(self.request)

    def leave(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Note what came."""
        now = int(time.time() * 1000)
        if not self.open.is_set():
            self._begin(data)
        data = self._rest + data
        end = 0
        for found in FRAME.finditer(data):
            written = int(found[1])
            self.delays[max(0, now - written)] += 1
            self.count += 1
            self.total += number(written, int(found[2]))
            end = found.end()
        # A frame's head may be cut in two; what is after the last one is kept until it is whole.
        self._rest = data[max(end, data.rfind(END)) :][-4096:]

    def _begin(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            self.refused = data[:300]
        self.open.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream ended."""
        self.lost = True
        self.open.set()


class Crowd:
    """All readers of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._delays = Counter[int]()
        self._readers: list[Reader] = []
        self._mute: list[socket.socket] = []

    async def connect(self) -> None:
        """Open all streams. Raises OSError when one is refused."""
        loop = asyncio.get_running_loop()
        plan = self._plan
        for seat in plan.seats:
            if seat.mute:
                self._mute.append(self._silent(seat))
            else:
                self._readers.append(Reader(self._request(seat), self._delays))
        for start in range(0, len(self._readers), AT_ONCE):
            some = self._readers[start : start + AT_ONCE]
            for reader in some:
                await loop.create_connection(lambda reader=reader: reader, plan.host, plan.port)
            async with asyncio.timeout(PATIENCE):
                for reader in some:
                    await reader.open.wait()
        if refused := [reader for reader in self._readers if reader.refused or reader.lost]:
            raise OSError(f"{len(refused)} streams were refused: {refused[0].refused!r}")

    def _request(self, seat: Seat) -> bytes:
        return (
            f"GET {seat.path} HTTP/1.1\r\nHost: {self._plan.host}:{self._plan.port}\r\n"
            f"Authorization: Bearer {seat.key}\r\n\r\n"
        ).encode()

    def _silent(self, seat: Seat) -> socket.socket:
        """A connection on which nobody will ever read."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        made.connect((self._plan.host, self._plan.port))
        made.sendall(self._request(seat))
        return made

    def report(self) -> Report:
        """What came so far."""
        return Report(
            sorted(self._delays.items()),
            [(reader.count, reader.total) for reader in self._readers],
            sum(reader.lost for reader in self._readers),
            self._gone(),
            time.process_time(),
        )

    def close(self) -> None:
        """Leave."""
        for reader in self._readers:
            reader.leave()
        for made in self._mute:
            made.close()

    def _gone(self) -> int:
        """How many connections of the mute were ended by the other side."""
        watch = select.poll()
        for made in self._mute:
            watch.register(made, GONE)
        return sum(bool(events & GONE) for _, events in watch.poll(0))


def plan_of(line: bytes) -> Plan:
    """The first line of stdin."""
    data = orjson.loads(line)
    return Plan(data["host"], data["port"], [Seat(**seat) for seat in data["seats"]])


def room_for_many() -> None:
    """A thousand connections are more than most shells allow by default."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def main() -> None:
    """Connect, say so, then a report for each line until the end of stdin."""
    room_for_many()
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    crowd = Crowd(plan_of(await stdin.readline()))
    await crowd.connect()
    print("connected", flush=True)
    while await stdin.readline():
        print(orjson.dumps(crowd.report()).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
