"""Which Redis or Valkey the tests run on: ours, or the one that TEST_REDIS_SERVER names."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from core.home.embedded import server_binary
from core.store.connection import connect
from tests.support.waiting import wait_until

VARIABLE = "TEST_REDIS_SERVER"


def server_command() -> tuple[str, ...]:
    """The program to start. Fails when the variable names none."""
    named = os.environ.get(VARIABLE)
    if not named:
        return (str(server_binary()),)
    found = shutil.which(named)
    assert found is not None, f"{VARIABLE} names no program: {named}"
    return (found,)


@dataclass(frozen=True)
class OwnServer:
    """A server on a port of this machine, beside the one that all tests share."""

    port: int
    process: asyncio.subprocess.Process
    redis: Any
    """A client; ``Any`` because redis-py types every answer as a union."""

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def kill(self) -> None:
        """kill -9, and wait for its end."""
        self.process.kill()
        await self.process.wait()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def own_server(folder: Path, *options: str) -> AsyncGenerator[OwnServer]:
    """A server that answers, with these options and nothing of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    always = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no")
    process = await asyncio.create_subprocess_exec(
        *server_command(),
        *(*always, "--dir", str(folder), "--logfile", str(folder / "server.log"), *options),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    server = OwnServer(port, process, connect(f"redis://127.0.0.1:{port}/0"))
    try:
        await wait_until(lambda: _answers(server), timeout=20)
        yield server
    finally:
        await server.redis.aclose()
        if process.returncode is None:
            await server.kill()


async def _answers(server: OwnServer) -> bool:
    try:
        return bool(await server.redis.ping())
    except RedisError:
        return False
