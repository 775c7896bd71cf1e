"""Redis away, silent, full or read-only: what is answered meanwhile, how soon all works again."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from core.home.embedded import socket_path
from tests.chaos.checker import logged
from tests.chaos.measure import ANSWER, BUSY, RECOVERY, Tried, new_thread, recovered, say, until
from tests.chaos.world import World, running_world
from tests.support.fault_proxy import Mode
from tests.support.waiting import wait_until


def refused_with_advice(tried: Tried) -> None:
    """503 in good form, in time."""
    assert tried.status == 503, tried
    assert tried.kind.startswith("application/problem+json")
    assert tried.body["detail"]
    assert tried.seconds <= ANSWER + BUSY, tried


async def outage(world: World, mode: Mode, seconds: float) -> tuple[float, float]:
    """Longest answer meanwhile, and seconds until all works again. A turn runs all the while."""
    async with world.client(timeout=30) as client:
        thread, other = await new_thread(client), await new_thread(client)
        assert (await say(client, thread, "bench:60:50", "running")).status == 202
        await until(client, thread, "text_delta")
        end = time.monotonic() + seconds
        world.proxy.mode = mode
        slowest = 0.0
        while time.monotonic() < end:
            tried = await say(client, other, "bench:3", "meanwhile")
            if tried.status != 202:  # the outage may end while it waits
                refused_with_advice(tried)
            slowest = max(slowest, tried.seconds)
        world.proxy.mode = "pass"
        back = await recovered(world, f"after {mode} {seconds}")
        finished = await until(client, thread, "turn_finished")
        assert finished.data["status"] == "completed"
        text = (await until(client, thread, "message_completed")).data["text"]
        assert text == "".join(f"t{n} " for n in range(1, 61))
    assert logged(world) == []
    return slowest, back


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [
        ("reset", 1.0),
        ("blackhole", 4.0),
        ("drop_replies", 4.0),
        pytest.param("reset", 10.0, marks=pytest.mark.chaos),
        pytest.param("blackhole", 10.0, marks=pytest.mark.chaos),
        pytest.param("reset", 60.0, marks=pytest.mark.chaos),
        pytest.param("blackhole", 60.0, marks=pytest.mark.chaos),
    ],
)
@pytest.mark.timeout(180)
async def test_an_outage_is_answered_in_time_and_outlived(mode: Mode, seconds: float) -> None:
    async with running_world(workers=2) as world:
        slowest, back = await outage(world, mode, seconds)
        print(f"{mode} {seconds:g} s: slowest answer {slowest:.2f} s, recovered in {back:.2f} s")  # noqa: T201 - a figure for the documentation
        assert back <= RECOVERY


async def test_half_open_connections_are_given_up() -> None:
    async with running_world(workers=1) as world:
        await recovered(world, "before")
        world.proxy.forget()
        back = await recovered(world, "after")
        print(f"half-open connections: recovered in {back:.2f} s")  # noqa: T201 - as above
        assert back <= RECOVERY
        assert logged(world) == []


async def test_a_reader_on_a_half_open_connection_hears_again_within_five_seconds() -> None:
    async with running_world(workers=1) as world, world.client(timeout=30) as client:
        thread = await new_thread(client)
        await say(client, thread, "bench:3", "m1")
        await until(client, thread, "turn_finished")
        reading = asyncio.create_task(until(client, thread, "turn_started", message_id="m2"))
        await asyncio.sleep(0.3)
        world.proxy.forget()
        began = time.monotonic()
        while (await say(client, thread, "bench:3", "m2")).status != 202:
            pass
        await reading
        assert time.monotonic() - began <= RECOVERY + BUSY


async def test_a_full_redis_is_said_to_be_full_and_nothing_is_lost() -> None:
    async with running_world(workers=1) as world, world.client(timeout=30) as client:
        thread = await new_thread(client)
        await world.redis.config_set("maxmemory", "1mb")
        tried = await say(client, thread, "bench:3", "m1")
        refused_with_advice(tried)
        assert "memory" in tried.body["detail"]
        assert await world.redis.xlen(f"asst:{{{thread}}}:in") == 0
        await world.redis.config_set("maxmemory", "0")
        assert (await say(client, thread, "bench:3", "m1")).status == 202
        await until(client, thread, "turn_finished", status="completed")
        assert logged(world) == []


async def test_a_read_only_redis_is_said_to_be_read_only() -> None:
    async with running_world(workers=1) as world, world.client(timeout=30) as client:
        thread = await new_thread(client)
        await world.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        tried = await say(client, thread, "bench:3", "m1")
        refused_with_advice(tried)
        assert "read-only" in tried.body["detail"]
        await world.redis.execute_command("REPLICAOF", "NO", "ONE")
        assert (await say(client, thread, "bench:3", "m1")).status == 202
        await until(client, thread, "turn_finished", status="completed")
        assert logged(world) == []


@contextmanager
def small_disk(folder: Path) -> Generator[None]:
    """A few megabytes mounted on a folder; skips where that is not allowed."""
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("a full disk needs a small file system, and there is no mount here")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"a full disk needs a small file system: {done.stderr.decode().strip()}")
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=False)
        yield


async def test_a_full_disk_loses_nothing_and_recovers_by_itself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with small_disk(home / "redis"):
        async with running_world(workers=1, home=home) as world, world.client(timeout=30) as client:
            assert socket_path(home) != home / "redis"
            thread = await new_thread(client)
            (home / "redis" / "ballast").write_bytes(b"x" * _free(home / "redis"))
            await _fill(world)
            tried = await say(client, thread, "bench:3", "m1")
            refused_with_advice(tried)
            assert "disk" in tried.body["detail"]
            (home / "redis" / "ballast").unlink()
            await wait_until(lambda: _writes(world), timeout=10)
            assert (await say(client, thread, "bench:3", "m1")).status == 202
            await until(client, thread, "turn_finished", status="completed")
            assert logged(world) == []


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


async def _fill(world: World) -> None:
    """Write until the server's log has no room."""
    await wait_until(lambda: _refuses(world), timeout=10)


async def _writes(world: World) -> bool:
    try:
        await world.redis.set("asst:worker:probe", "x" * 5000, ex=5)
    except Exception:  # noqa: BLE001 - whatever it says, it does not write
        return False
    return True


async def _refuses(world: World) -> bool:
    return not await _writes(world)
