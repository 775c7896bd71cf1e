"""A thousand readers of event streams at one web process, and some that never read.

Every reader follows one conversation, or all of its user's. The delay of an event is the time from
its entry in the journal (an entry's id begins with Redis's clock) to its arrival at a reader.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import cycle

import orjson

from benchmarks.crowd import Plan, Report, Seat, number
from benchmarks.machine import PROC, Memory, cpu_seconds, memory, role
from benchmarks.members import member_key
from benchmarks.subjects import Ours, address, process
from benchmarks.wire import open_wire
from core.store import keys
from core.store.redis import RedisClient

USERS, THREADS = 10, 2
"""So many users with so many conversations each."""

FOLLOWS_ALL = 5
"""Every so manieth reader follows all conversations of its user, like an open page."""

PAUSE_MS = 10
LONG_ANSWER = 20_000
"""Tokens: what the mute ask for at once is more than all buffers hold."""

EVICTION = 90.0
"""Seconds that are waited for the mute to be cut off: three times what they are given."""

CATCH_UP = 15.0
"""Seconds after the last turn in which all readers must have everything."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many readers, how many conversations stream at once, and for how long."""

    readers: int = 1000
    mute: int = 20
    streams: tuple[int, ...] = (1, 2, 5, 10)
    seconds: float = 10


@dataclass(frozen=True, slots=True)
class Delivery:
    """One level of load. Delays in milliseconds, CPU in percent of a core."""

    readers: int
    streams: int
    per_second: float
    p50: float
    p99: float
    worst: float
    missed: int
    cut: int
    web_cpu: float
    client_cpu: float


@dataclass(frozen=True, slots=True)
class Mute:
    """Those who do not read: how many, how many were cut off, after how many seconds at most."""

    readers: int
    evicted: int
    seconds: float
    kept: int
    """Connections that the web process held in the end, beyond those of the others."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Everything; memory of the web process in MiB."""

    levels: list[Delivery]
    mute: Mute
    before: Memory
    connected: Memory
    after: Memory


class Audience:
    """The process with the readers."""

    def __init__(self, client: asyncio.subprocess.Process) -> None:
        self._client = client

    async def take_seats(self, plan: Plan) -> None:
        """Connect all. Raises AssertionError when a stream is refused."""
        assert await self._ask(orjson.dumps(asdict(plan))) == b"connected\n"

    async def report(self) -> Report:
        """What came so far."""
        return Report(**orjson.loads(await self._ask(b"report")))

    async def _ask(self, line: bytes) -> bytes:
        stdin, stdout = self._client.stdin, self._client.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(line + b"\n")
        return await stdout.readline()


@asynccontextmanager
async def audience() -> AsyncGenerator[Audience]:
    """An empty one."""
    async with process(("-m", "benchmarks.crowd"), limit=2**24) as client:
        yield Audience(client)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with conversations."""

    name: str
    key: str
    threads: list[str]


class Journals:
    """What each reader must have got: read from the journals, independently of the web process."""

    def __init__(self, redis: RedisClient, users: Sequence[User], seats: Sequence[Seat]) -> None:
        self._redis = redis
        self._users = users
        self._seats = [seat for seat in seats if not seat.mute]
        self._before: dict[str, tuple[int, int]] = {}

    async def expected(self) -> list[tuple[int, int]]:
        """Entries and the sum of their ids, for each seat that reads."""
        found: dict[str, tuple[int, int]] = {}
        for user in self._users:
            every = [await self._thread(thread_id) for thread_id in user.threads]
            found[user.key] = (sum(n for n, _ in every), sum(s for _, s in every))
            for thread_id, one in zip(user.threads, every, strict=True):
                found[_events(thread_id)] = one
        by_seat = (seat.key if seat.path == ALL else seat.path for seat in self._seats)
        return [found[name] for name in by_seat]

    async def _thread(self, thread_id: str) -> tuple[int, int]:
        rows = await self._redis.xrange(keys.journal(thread_id))
        ids = [tuple(map(int, name.split(b"-"))) for name, _ in rows]
        return len(ids), sum(number(left, right) for left, right in ids)


ALL = "/api/events"
LISTENING = "0A"


def _events(thread_id: str) -> str:
    return f"/api/threads/{thread_id}/events"


async def measure(subject: Ours, redis: RedisClient, size: Crowd) -> Readers:
    """All levels, one after another, while the mute keep silent."""
    [web] = [pid for pid in subject.pids() if role(pid) == "web"]
    users = [await _user(subject, redis, n) for n in range(USERS)]
    loud = await _user(subject, redis, USERS, threads=1)
    chat = await subject.join(loud.threads[0], loud.key)
    await chat.turn(LONG_ANSWER)
    chat.close()
    seats = list(_seats(users, size.readers))
    mute = [Seat(loud.key, _events(loud.threads[0]), mute=True)] * size.mute
    before = memory([web])
    async with audience() as crowd, audience() as silent:
        await crowd.take_seats(Plan(*address(subject.url), seats))
        connected = memory([web])
        await silent.take_seats(Plan(*address(subject.url), mute))
        evicted = asyncio.create_task(_evicted(silent, size.mute))
        hall = Hall(subject, crowd, Journals(redis, users, seats), users, web)
        levels = [await hall.level(streams, size.seconds) for streams in size.streams]
        gone, seconds = await evicted
        after, kept = memory([web]), _held(web, address(subject.url)[1]) - size.readers
    return Readers(levels, Mute(size.mute, gone, seconds, max(0, kept)), before, connected, after)


async def _user(
    subject: Ours, redis: RedisClient, position: int, *, threads: int = THREADS
) -> User:
    name = f"reader{position}"
    key = await member_key(redis, name)
    wire = await open_wire(*address(subject.url), key)
    made = [await wire.call("POST", "/api/threads", {}) for _ in range(threads)]
    wire.close()
    return User(name, key, [thread["id"] for thread in made])


def _seats(users: Sequence[User], count: int) -> Iterator[Seat]:
    """Readers spread evenly over users and their conversations."""
    turns = {user.name: cycle(user.threads) for user in users}
    for position in range(count):
        user = users[position % len(users)]
        if position // len(users) % FOLLOWS_ALL == 0:
            yield Seat(user.key, ALL)
        else:
            yield Seat(user.key, _events(next(turns[user.name])))


def _held(pid: int, port: int) -> int:
    """Connections of clients that a process keeps; those that it gave up belong to no file."""
    lines = (PROC / str(pid) / "net" / "tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(
        row[1].endswith(f":{port:04X}") and row[3] != LISTENING and row[9] != "0" for row in rows
    )


async def _evicted(silent: Audience, mute: int) -> tuple[int, float]:
    """Wait until all the mute are cut off: how many are, and after how many seconds."""
    since = time.perf_counter()
    while True:
        gone, seconds = (await silent.report()).gone, time.perf_counter() - since
        if gone >= mute or seconds > EVICTION:
            return gone, seconds
        await asyncio.sleep(1)


@dataclass
class Hall:
    """Where turns stream to readers."""

    subject: Ours
    crowd: Audience
    journals: Journals
    users: list[User]
    web: int

    async def level(self, streams: int, seconds: float) -> Delivery:
        """Turns at 100 tokens a second in so many conversations at once."""
        tokens = int(seconds * 1000 / PAUSE_MS)
        chats = [await self.subject.join(u.threads[0], u.key) for u in self.users[:streams]]
        old, expected_before = await self.crowd.report(), await self.journals.expected()
        cpu, started = cpu_seconds([self.web]), time.perf_counter()
        await asyncio.gather(*(chat.turn(tokens, PAUSE_MS) for chat in chats))
        lasted = time.perf_counter() - started
        cpu = cpu_seconds([self.web]) - cpu
        for chat in chats:
            chat.close()
        new, missed = await self._caught_up(old, expected_before)
        delays = Counter(dict(new.delays))
        delays.subtract(dict(old.delays))
        events = delays.total()
        return Delivery(
            len(new.got),
            streams,
            events / lasted,
            quantile(delays, 0.5),
            quantile(delays, 0.99),
            quantile(delays, 1),
            missed,
            new.cut,
            100 * cpu / lasted,
            100 * (new.cpu - old.cpu) / lasted,
        )

    async def _caught_up(self, old: Report, before: list[tuple[int, int]]) -> tuple[Report, int]:
        """The report once everybody has everything, and how many events are missing then."""
        end = time.perf_counter() + CATCH_UP
        wanted = [
            (n - m, s - t)
            for (n, s), (m, t) in zip(await self.journals.expected(), before, strict=True)
        ]
        while True:
            new = await self.crowd.report()
            missed = missing(wanted, old.got, new.got)
            if not missed or time.perf_counter() > end:
                return new, missed
            await asyncio.sleep(0.2)


def missing(
    wanted: Sequence[tuple[int, int]],
    old: Sequence[tuple[int, int]],
    new: Sequence[tuple[int, int]],
) -> int:
    """Events that readers did not get, or got besides those that they should have got."""
    found = 0
    for (count, total), (n0, s0), (n1, s1) in zip(wanted, old, new, strict=True):
        wrong = abs(count - (n1 - n0))
        # The same number of entries, but not the same ones.
        found += wrong or int(total != s1 - s0)
    return found


def quantile(delays: Counter[int], part: float) -> float:
    """The delay that so great a part of all events stays within."""
    left = part * delays.total()
    for delay in sorted(delays):
        left -= delays[delay]
        if left <= 0:
            return float(delay)
    return 0.0
