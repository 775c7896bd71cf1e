"""One project of containers for all tests of this folder."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from api.demo_model import create_demo_app
from tests.docker.composed import Composed, copy_project, docker, free_port

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/setup#(\S+)")
PASSWORD = "correct horse battery"
GATEWAY = "{{(index .IPAM.Config 0).Gateway}}"
BUILD_SECONDS = 1500
"""Torch alone is hundreds of megabytes."""


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine that answers, with compose; without them the tests are skipped."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker program")
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
            pytest.skip(f"`{' '.join(command)}` fails: {reason}")


@asynccontextmanager
async def scripted_model(log: Path) -> AsyncGenerator[int]:
    """The scripted model where containers reach this machine; yields its port."""
    gateway = (await docker("network", "inspect", "bridge", "--format", GATEWAY)).strip()
    runner = web.AppRunner(create_demo_app(pace=0, log=log))
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, gateway, 0).start()
        except OSError:  # the engine runs in a virtual machine and forwards to this address
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def built(engine: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Composed]:
    """The containers, started, with a password set by the link that they print."""
    folder = tmp_path_factory.mktemp("project")
    log = tmp_path_factory.mktemp("model") / "model.jsonl"
    project = f"assistant-test-{secrets.token_hex(3)}"
    port = free_port()
    copy_project(folder, f"{project}:local")
    async with scripted_model(log) as model_port:
        (folder / ".env").write_text(
            f"OPENAI_BASE_URL=http://host.docker.internal:{model_port}/v1\nASSISTANT_PORT={port}\n"
        )
        composed = Composed(folder, project, log, f"http://127.0.0.1:{port}")
        try:
            await composed.compose("build", seconds=BUILD_SECONDS)
            await composed.up()
            await _set_up(composed)
            yield composed
        finally:
            await composed.compose("down", "--volumes", "--rmi", "local", "--remove-orphans")
            await docker("image", "rm", "--force", f"{project}:local")


async def _set_up(composed: Composed) -> None:
    link = LINK.search(await composed.compose("logs", "--no-log-prefix", "api"))
    assert link is not None
    assert link[1] == composed.url
    async with composed.client() as client:
        body = {"token": link[2], "password": PASSWORD}
        assert (await client.post("/api/setup", json=body)).status_code == 204
    command = ("assistant", "key", "create", "--name", "tests", "--scope", "admin")
    composed.key = (await composed.inside("api", *command)).strip()


@pytest_asyncio.fixture(loop_scope="session")
async def composed(built: Composed) -> Composed:
    """The same, running and healthy, with one worker, whatever another test has done."""
    await built.up()
    return built
