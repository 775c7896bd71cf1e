"""A whole assistant of real processes: embedded server, web process, workers, and a scripted
model."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
from aiohttp import web

from api.demo.model import create_demo_app
from core.accounts.api_keys import create_key
from core.accounts.passwords import set_first_password
from core.home.embedded import EmbeddedServer, running_server, start_server
from core.home.web_address import ADDRESS_FILE
from core.settings.groups import StoreSettings
from core.store.connection import connect
from tests.support.servers import server_command
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
USER = "owner"
PASSWORD = "correct horse battery"


@dataclass(eq=False)
class Stack:
    """Running processes of one home. Every process is stopped by its pid."""

    home: Path
    server: EmbeddedServer
    model_url: str
    model_log: Path
    key: str
    environment: dict[str, str] = field(default_factory=dict[str, str])
    processes: dict[str, asyncio.subprocess.Process] = field(
        default_factory=dict[str, asyncio.subprocess.Process]
    )
    url: str = ""

    async def start(
        self, name: str, command: str, *, program: Path = ROOT / "assistant.py"
    ) -> asyncio.subprocess.Process:
        """Start `assistant <command>`, or another program, under a name of the test's choice."""
        with (self.home / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(program),
                command,
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def _environment(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("ASSISTANT_", "OPENAI_"))},
            "ASSISTANT_HOME": str(self.home),
            "ASSISTANT_PORT": "0",
            "OPENAI_BASE_URL": self.model_url,
            "MODEL_NAME": "scripted-demo",
            **self.environment,
        }

    async def start_web(self) -> None:
        """Start the web process and wait until it answers."""
        (self.home / ADDRESS_FILE).unlink(missing_ok=True)
        await self.start("web", "api")
        await wait_until(lambda: (self.home / ADDRESS_FILE).exists(), timeout=60)
        self.url = orjson.loads((self.home / ADDRESS_FILE).read_bytes())["url"]
        async with self.client() as client:
            await wait_until(lambda: _answers(client), timeout=60)

    async def start_worker(
        self, name: str = "worker", *, program: Path = ROOT / "assistant.py"
    ) -> None:
        """Start a worker and wait until it works."""
        log = self.home / f"{name}.log"
        before = log.read_bytes().count(b"is ready") if log.exists() else 0
        await self.start(name, "worker", program=program)
        await wait_until(lambda: log.read_bytes().count(b"is ready") > before, timeout=60)

    async def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal a process and wait for its end; the value is its exit code."""
        process = self.processes.pop(name)
        if process.returncode is None:
            process.send_signal(number)
        return await asyncio.wait_for(process.wait(), 30)

    def client(self, *, timeout: float = 30) -> httpx.AsyncClient:
        """An HTTP client with an API key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout)

    def log(self, name: str) -> str:
        """What a process has logged."""
        return (self.home / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def model_calls(self) -> list[dict[str, Any]]:
        """What the scripted model was asked, in order of arrival."""
        if not self.model_log.exists():
            return []
        return [orjson.loads(line) for line in self.model_log.read_bytes().splitlines()]


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).status_code == 200
    except httpx.TransportError:
        return False


@asynccontextmanager
async def running_stack(
    *, workers: int = 1, pace: float = 0.0, **environment: str
) -> AsyncGenerator[Stack]:
    """A stack with a web process and workers, and a password already set."""
    home = Path(tempfile.mkdtemp(prefix="asst-e2e-"))
    server = await start_server(home, StoreSettings(), command=server_command())
    model_log = home / "model.jsonl"
    runner = web.AppRunner(create_demo_app(pace=pace, log=model_log))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    stack = Stack(home, server, f"http://127.0.0.1:{port}/v1", model_log, "", environment)
    try:
        redis = connect(server.url)
        await set_first_password(redis, PASSWORD)
        _, stack.key = await create_key(redis, USER, "tests", "admin")
        await redis.aclose()
        await asyncio.gather(
            stack.start_web(), *(stack.start_worker(f"worker{n}") for n in range(1, workers + 1))
        )
        yield stack
    finally:
        for name in list(stack.processes):
            await stack.stop(name, signal.SIGKILL)
        await runner.cleanup()
        if (current := await running_server(home)) is not None:
            await current.stop()
        shutil.rmtree(home, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Received:
    """One event as a client got it."""

    id: str
    type: str
    data: dict[str, Any]


async def events(
    client: httpx.AsyncClient, path: str, *, last_id: str | None = None, until_idle: bool = True
) -> AsyncIterator[Received]:
    """Events of a stream. Ends with it; a broken connection raises httpx.TransportError."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    params = {"until": "idle"} if until_idle else {}
    async with client.stream("GET", path, headers=headers, params=params) as response:
        response.raise_for_status()
        frame: dict[str, str] = {}
        async for line in response.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                frame[name] = value
            elif "data" in frame:
                yield Received(
                    frame.get("id", ""), frame.get("event", ""), orjson.loads(frame["data"])
                )
                frame = {}


@dataclass
class Shown:
    """What a client shows of one run, by the rules of docs/api.md."""

    text: str = ""
    completed: str | None = None
    status: str | None = None
    attempts: int = 0
    types: list[str] = field(default_factory=list[str])

    def take(self, event: Received) -> None:
        """Add one event."""
        self.types.append(event.type)
        match event.type:
            case "turn_started":
                self.text, self.completed, self.attempts = "", None, self.attempts + 1
            case "text_delta":
                if self.completed is not None:
                    self.text, self.completed = "", None
                self.text += event.data["text"]
            case "message_completed":
                self.completed = event.data["text"]
            case "turn_finished":
                self.status = event.data["status"]
            case _:
                pass
