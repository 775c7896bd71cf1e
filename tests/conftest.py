"""Fixtures for all tests: a real Valkey per test process, flushed and checked after each test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from core.home.embedded import EmbeddedServer, socket_url, start_server
from core.settings.groups import Settings, StoreSettings
from core.store.client import Store
from core.store.connection import connect
from core.store.opening import open_store
from core.store.redis import RedisClient
from tests.support.servers import server_command

# The same examples each time, and no time limit on a busy machine.
hypothesis_settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis_settings.load_profile("steady")


@pytest.fixture(scope="session")
def server() -> Generator[EmbeddedServer]:
    """One embedded server for the session. A short path: sockets may not have long ones."""
    home = Path(tempfile.mkdtemp(prefix="asst-"))
    with asyncio.Runner() as runner:
        running = runner.run(start_server(home, StoreSettings(), command=server_command()))
        yield running
        runner.run(running.stop())
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def redis_url(server: EmbeddedServer) -> str:
    """URL of the test server, emptied of what the test before left."""
    url = socket_url(server.home)
    client = connect(url)
    await client.flushall()
    await client.aclose()
    return url


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[RedisClient]:
    """A client on an empty server."""
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def store(redis: RedisClient, redis_url: str) -> AsyncGenerator[Store]:
    """A store on an empty server."""
    async with open_store(redis_url) as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Defaults on a fresh home."""
    return Settings(home=tmp_path / "home")
