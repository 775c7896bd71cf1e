"""Background jobs, from being asked for to being done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from docket import worker

from core.errors import ConfigError, StoreUnavailable
from core.jobs import jobs, queue
from core.jobs.jobs import SHORTEST, Job, Jobs, open_job_client, running_jobs
from core.store import keys
from core.store.redis import RedisClient
from tests.support.waiting import wait_until

SOON = timedelta(seconds=2)


class Bench:
    """Jobs of a test, and what became of them."""

    def __init__(self, client: Jobs) -> None:
        self.client = client
        self.done: list[tuple[str, ...]] = []
        self.refusals = 0

    async def note(self, *arguments: str) -> None:
        """A job."""
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("not now")
        self.done.append(arguments)


@asynccontextmanager
async def bench(url: str) -> AsyncGenerator[Bench]:
    async with open_job_client(url) as client:
        it = Bench(client)

        async def note(*arguments: str) -> None:
            await it.note(*arguments)

        async with running_jobs(url, (Job("note", note),), broken=pytest.fail):
            yield it


async def test_a_job_runs_with_its_arguments(redis: RedisClient, redis_url: str) -> None:
    async with bench(redis_url) as it:
        await it.client.add("note", "a", "б", key="k1")
        await wait_until(lambda: it.done == [("a", "б")], timeout=20)


async def test_a_job_that_fails_is_tried_again(redis: RedisClient, redis_url: str) -> None:
    async with bench(redis_url) as it:
        it.refusals = 1
        await it.client.add("note", "a", key="k1")
        await wait_until(lambda: it.done == [("a",)], timeout=20)


async def test_jobs_wait_for_their_time_and_the_same_key_replaces(
    redis: RedisClient, redis_url: str
) -> None:
    async with bench(redis_url) as it:
        now = datetime.now(UTC)
        await it.client.add("note", "far", key="k1", at=now + timedelta(days=1))
        await it.client.add("note", "gone", key="k2", at=now + SOON)
        await it.client.cancel("k2")
        await it.client.add("note", "near", key="k1", at=now + SOON)
        await wait_until(lambda: bool(it.done), timeout=20)
        assert it.done == [("near",)]
        assert datetime.now(UTC) >= now + SOON


async def test_jobs_wait_for_a_worker(redis: RedisClient, redis_url: str) -> None:
    async with open_job_client(redis_url) as client:
        await client.add("note", "early", key="k1")
    async with bench(redis_url) as it:
        await wait_until(lambda: it.done == [("early",)], timeout=20)


async def test_without_redis_asking_says_so_in_time(redis_url: str) -> None:
    async with open_job_client("unix:///nowhere/at/all.sock") as client:
        with pytest.raises(StoreUnavailable):
            await client.add("note", key="k1")


async def test_a_runner_that_ends_is_told(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker without its jobs would look well and do half its work."""
    monkeypatch.setattr(jobs, "RUNNER_AFTER", 0)
    told = asyncio.Event()
    async with running_jobs("ftp://no-redis", (), broken=told.set):
        async with asyncio.timeout(20):
            await told.wait()
    assert "background jobs have stopped" in caplog.text


async def test_an_orderly_stop_looked_like_a_broken_runner(
    redis: RedisClient, redis_url: str
) -> None:
    told = asyncio.Event()
    async with open_job_client(redis_url) as client:
        it = Bench(client)

        async def note(*arguments: str) -> None:
            await it.note(*arguments)

        async with running_jobs(redis_url, (Job("note", note),), broken=told.set):
            await client.add("note", "a", key="k1")
            await wait_until(lambda: it.done == [("a",)], timeout=20)
        await asyncio.sleep(0)
    assert not told.is_set()


# ---- periodic jobs


async def test_a_periodic_job_runs_again_and_once_for_all_workers(
    redis: RedisClient, redis_url: str
) -> None:
    runs: list[str] = []

    def tidy(worker: str) -> tuple[Job]:
        async def run() -> None:
            runs.append(worker)

        return (Job("tidy", run, every=SHORTEST),)

    async with (
        running_jobs(redis_url, tidy("one"), broken=pytest.fail),
        running_jobs(redis_url, tidy("two"), broken=pytest.fail),
    ):
        began = datetime.now(UTC)
        await wait_until(lambda: len(runs) >= 3, timeout=30)
        assert datetime.now(UTC) - began >= 2 * SHORTEST * 0.9


async def test_a_periodic_job_that_fails_runs_again(
    redis: RedisClient, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[str] = []

    async def tidy() -> None:
        runs.append("run")
        raise StoreUnavailable("Redis is away")

    async with running_jobs(redis_url, (Job("tidy", tidy, every=SHORTEST),), broken=pytest.fail):
        await wait_until(lambda: len(runs) >= 2, timeout=30)
    assert "job tidy: Redis is away; it runs again in 0:00:02" in caplog.text


async def _takes_one(_argument: str) -> None: ...


def _no_coroutine() -> None: ...


@pytest.mark.parametrize(
    ("jobs_", "words"),
    [
        ((Job("note", _takes_one), Job("note", _takes_one)), "two background jobs are called note"),
        ((Job("a note", _takes_one),), "cannot be called 'a note'"),
        ((Job("note", _no_coroutine),), "note is not an async function"),  # pyright: ignore[reportArgumentType]
        ((Job("note", _takes_one, every=timedelta(hours=1)),), "periodic job note takes arguments"),
        ((Job("note", _takes_one, every=timedelta(0)),), "note cannot run more often"),
    ],
)
async def test_a_broken_entry_stops_the_start_by_name(
    redis_url: str, jobs_: tuple[Job, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        async with running_jobs(redis_url, jobs_, broken=pytest.fail):
            pass


# ---- hostile and foreign entries of the queue


def pickled(command: str) -> bytes:
    """What runs a command when it is read as a pickle, a tuple with the command's result."""
    return f"(cos\nsystem\n(V{command}\ntRt.".encode()


NOTHING_PICKLED = {"args": b"\x80\x05).", "kwargs": b"\x80\x05}\x94."}
"""No arguments, as the former version wrote them."""


def entry(function: bytes, arguments: bytes, **more: bytes) -> dict[bytes, bytes]:
    """A job as whoever can write to Redis would put it on the stream."""
    fields = {
        b"key": b"planted",
        b"when": datetime.now(UTC).isoformat().encode(),
        b"function": function,
        b"args": arguments,
        b"kwargs": b"{}",
        b"attempt": b"1",
        b"generation": b"0",
    }
    return fields | {name.encode(): value for name, value in more.items()}


async def plant(redis: RedisClient, *entries: dict[bytes, bytes]) -> None:
    for fields in entries:
        await redis.execute_command(
            "XADD",
            f"{keys.docket_name()}:stream",
            "*",
            *(w for pair in fields.items() for w in pair),
        )


async def test_a_pickled_job_ran_a_command(
    redis: RedisClient,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(queue, "CHECK", timedelta(seconds=0.1))
    marker = tmp_path / "ran"
    evil = pickled(f"touch {marker}")
    async with bench(redis_url) as it:
        await plant(
            redis,
            entry(b"note", evil),
            entry(b"note", b"[]", kwargs=evil),
            # Junk of all kinds, each of which would have ended the runner.
            {b"x": b"y"},
            entry(b"note", b'[1, {"a": 2}]'),
            entry(b"note", b'["' + b"a" * 100_000 + b'"]'),
            entry(b"note", b"[" * 10_000),
            entry(b"note", b"[]", kwargs=b'{"retry": "x"}'),
            entry(b"note", b"[]", when=b"never", attempt=b"many"),
            entry(b"\xff", b"[]", key=b"\xff\x1b[31m"),
            entry(b"os.system", b'["touch ' + str(marker).encode() + b'"]'),
            entry(b"sleep", b"[]"),
        )
        await redis.xadd(
            f"{keys.docket_name()}:strikes",
            {b"direction": b"strike", b"operator": b"==", b"value": evil},
        )
        await it.client.add("note", "next", key="k1")
        await wait_until(lambda: it.done == [("next",)], timeout=20)
        await wait_until(lambda: caplog.text.count("is dropped unread") >= 9, timeout=20)
    assert not marker.exists()
    assert "background jobs have stopped" not in caplog.text
    assert "\x1b" not in caplog.text
    assert it.done == [("next",)]


async def test_what_is_written_is_plain_text(redis: RedisClient, redis_url: str) -> None:
    async with open_job_client(redis_url) as client:
        await client.add("note", "a", "б", key="k1")
        [(_, fields)] = await redis.xrange(f"{keys.docket_name()}:stream")
        assert (fields[b"args"], fields[b"kwargs"]) == ('["a","б"]'.encode(), b"{}")
        with pytest.raises(TypeError, match="plain strings only"):
            await client.add("note", 5, key="k2")  # pyright: ignore[reportArgumentType] - that is what is refused


async def test_a_periodic_job_of_the_former_version_starts_anew(
    redis: RedisClient,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was left in the queue with pickled arguments; they are not read, and it runs all the
    same."""
    runs: list[str] = []

    async def tidy() -> None:
        runs.append("run")

    monkeypatch.setattr(worker, "AUTOMATIC_PERPETUAL_RESEED_INTERVAL_SECONDS", 1)
    name = keys.docket_name()
    at = str(datetime.now(UTC).timestamp())
    waiting = entry(b"tidy", b"", key=b"tidy", generation=b"1", **NOTHING_PICKLED)
    state = {"state": "scheduled", "when": at, "known": at, "generation": "1"}
    await redis.zadd(f"{name}:queue", {"tidy": float(at)})
    await redis.hset(f"{name}:tidy", mapping=waiting)
    await redis.hset(f"{name}:runs:tidy", mapping=waiting)
    await redis.hset(f"{name}:runs:tidy", mapping=state)
    async with running_jobs(redis_url, (Job("tidy", tidy, every=SHORTEST),), broken=pytest.fail):
        await wait_until(lambda: len(runs) >= 2, timeout=30)
    assert "the background job 'tidy' (tidy) is dropped unread" in caplog.text
