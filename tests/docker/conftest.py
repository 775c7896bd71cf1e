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

from api.demo.model import create_demo_app
from tests.docker.composed import Composed, copy_project, docker, free_port

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/setup#(\S+)")
PASSWORD = "correct horse battery"
MACHINE = "host.docker.internal"
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


async def machine_seen_from(image: str) -> str:
    """Address of this machine as containers know it."""
    start = ("run", "--rm", "--add-host", f"{MACHINE}:host-gateway", "--entrypoint", "getent")
    return (await docker(*start, image, "hosts", MACHINE)).split()[0]


@asynccontextmanager
async def scripted_model(address: str, log: Path) -> AsyncGenerator[int]:
    """The scripted model where containers reach this machine; yields its port."""
    runner = web.AppRunner(create_demo_app(pace=0, log=log))
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address, 0).start()
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
    image = f"{project}:local"
    port = free_port()
    copy_project(folder, image)
    composed = Composed(folder, project, log, f"http://127.0.0.1:{port}")
    try:
        await composed.compose("build", seconds=BUILD_SECONDS)
        async with scripted_model(await machine_seen_from(image), log) as model_port:
            model = f"http://{MACHINE}:{model_port}/v1"
            (folder / ".env").write_text(f"OPENAI_BASE_URL={model}\nASSISTANT_PORT={port}\n")
            await composed.up()
            await _set_up(composed)
            yield composed
    finally:
        await composed.compose("down", "--volumes", "--remove-orphans")
        await docker("image", "rm", "--force", image)


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
