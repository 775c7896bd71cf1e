"""The containers of compose.yaml, built and started from a copy of the project."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import orjson

from tests.style import tree
from tests.support.waiting import wait_until

IMAGE = "modular-assistant:local"
BUILD_FILES = ("Dockerfile", ".dockerignore", "compose.yaml", "constraints.txt")
OURS = ("ASSISTANT_", "COMPOSE_", "MODEL_", "OPENAI_", "REDIS_")


def environment() -> dict[str, str]:
    """The machine's own (where Docker is, PIP_ARGS), without settings of an assistant."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


async def docker(*arguments: str, cwd: Path | None = None, seconds: float = 120) -> str:
    """What `docker …` prints. Raises AssertionError when it fails."""
    process = await asyncio.create_subprocess_exec(
        "docker",
        *arguments,
        cwd=cwd,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (arguments, out.decode()[-2000:], err.decode()[-2000:])
    return out.decode()


def copy_project(folder: Path, image: str) -> None:
    """What an image is made of, with a name of its own: the user's image stays as it is."""
    for path in (*tree.shipped(), *(tree.ROOT / name for name in BUILD_FILES)):
        target = folder / tree.name(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    compose = folder / "compose.yaml"
    compose.write_text(compose.read_text().replace(IMAGE, image))


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass(eq=False)
class Composed:
    """One project of containers."""

    folder: Path
    project: str
    model_log: Path
    url: str
    key: str = ""

    async def compose(self, *arguments: str, seconds: float = 120) -> str:
        """`docker compose …` for these containers."""
        start = ("compose", "--ansi", "never", "--project-name", self.project)
        return await docker(*start, *arguments, cwd=self.folder, seconds=seconds)

    async def up(self, *, workers: int = 1) -> None:
        """Start whatever does not run, and wait until all is healthy."""
        await self.compose("up", "--detach", "--wait", "--scale", f"worker={workers}")

    async def inside(self, service: str, *command: str) -> str:
        """Output of a command in a running container."""
        return await self.compose("exec", "-T", service, *command)

    async def inspected(self) -> dict[str, dict[str, Any]]:
        """What the engine says of each running container, by service."""
        ids = (await self.compose("ps", "--quiet")).split()
        found = cast("list[dict[str, Any]]", orjson.loads(await docker("inspect", *ids)))
        label = "com.docker.compose.service"
        return {str(one["Config"]["Labels"][label]): one for one in found}

    def client(self) -> httpx.AsyncClient:
        """An HTTP client with an API key."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {"Origin": self.url}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)

    async def say(self, text: str) -> str:
        """Send a first message; the value is its conversation."""
        async with self.client() as client:
            created = (await client.post("/api/threads", json={})).raise_for_status()
            thread = str(created.json()["id"])
            body = {"text": text}
            (await client.post(f"/api/threads/{thread}/messages", json=body)).raise_for_status()
        return thread

    async def messages(self, thread: str) -> list[dict[str, Any]]:
        """The messages of a conversation."""
        async with self.client() as client:
            answer = (await client.get(f"/api/threads/{thread}")).raise_for_status()
        return cast("list[dict[str, Any]]", answer.json()["messages"])

    async def answer(self, thread: str, *, seconds: float = 60) -> str:
        """The text that answers the one message of a conversation."""

        found: list[dict[str, Any]] = []

        async def answered() -> bool:
            found[:] = await self.messages(thread)
            return [m["status"] for m in found] == ["completed"] * 2

        try:
            await wait_until(answered, timeout=seconds, every=0.2)
        except AssertionError as error:
            raise AssertionError(found, await self.compose("logs", "worker")) from error
        question, answer = found
        assert (question["role"], answer["role"]) == ("user", "assistant")
        return str(answer["text"])

    def questions(self) -> int:
        """How often the model was asked."""
        return len(self.model_log.read_bytes().splitlines()) if self.model_log.exists() else 0

    async def stop(self) -> float:
        """`docker compose stop`; the value is the seconds that it took."""
        start = time.monotonic()
        await self.compose("stop")
        return time.monotonic() - start
