"""What the readers report is what came."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from benchmarks.crowd import Crowd, Plan, Reader, Seat, number
from benchmarks.machine import Memory
from benchmarks.readers import Delivery, Mute, Readers, missing, quantile
from benchmarks.report import Results, targets


def frames(*ids: str) -> bytes:
    """Events as they come on the wire, in chunks."""
    bodies = [f'id: {i}\nevent: text_delta\ndata: {{"text":"id: 1-1"}}\n\n' for i in ids]
    return b"".join(f"{len(body):x}\r\n{body}\r\n".encode() for body in bodies)


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
def test_entries_are_counted_however_the_bytes_are_cut(size: int) -> None:
    now = int(time.time() * 1000)
    data = frames(f"{now}-0", f"{now}-1", f"{now - 5000}-0")
    reader = Reader(b"", Counter())
    reader.open.set()
    for start in range(0, len(data), size):
        reader.data_received(data[start : start + size])
    assert reader.count == 3
    assert reader.total == number(now, 0) + number(now, 1) + number(now - 5000, 0)
    assert reader.delays.total() == 3
    assert max(reader.delays) >= 5000


def test_missing_and_wrong_events_are_found() -> None:
    old = [(10, 100)] * 3
    assert missing([(2, 30)] * 3, old, [(12, 130)] * 3) == 0
    assert missing([(2, 30)] * 3, old, [(12, 130), (11, 110), (10, 100)]) == 3
    assert missing([(2, 30)] * 3, old, [(12, 130), (12, 131), (13, 140)]) == 2


def test_quantiles_of_counted_delays() -> None:
    delays = Counter({1: 98, 50: 1, 900: 1})
    assert [quantile(delays, part) for part in (0.5, 0.99, 1)] == [1, 50, 900]
    assert quantile(Counter(), 0.99) == 0


def test_a_held_connection_or_a_missed_event_is_a_miss() -> None:
    level = Delivery(1000, 5, 100.0, 1, 2, 3, 1, 0, 10.0, 10.0)
    memory = Memory(160, 149)
    found = Readers([level], Mute(20, 19, 30.0, 1), memory, memory, memory)
    verdicts = [goal.row()[-1] for goal in targets(Results(readers=found))]
    assert verdicts == ["ok", "**miss**", "ok", "**miss**"]


async def test_the_crowd_says_who_was_refused() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OSError, match=r"2 streams were refused: .*401"):
            await Crowd(Plan("127.0.0.1", port, [Seat("k", "/x")] * 2)).connect()
