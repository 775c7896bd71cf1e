"""The processes that the campaign hurts: they are started again when they die, as `up` does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis.asyncio import Redis

from api.api_keys import create_key
from api.passwords import set_first_password
from core.embedded import EmbeddedServer, running_server, start_server
from core.settings import StoreSettings
from core.store import connect
from tests.chaos.model import FaultyModel, faulty_model
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.stack import PASSWORD, ROOT, USER
from tests.support.waiting import wait_until

WORKER = ROOT / "tests" / "support" / "worker_with_effects.py"
EFFECTS_FILE = "effects.jsonl"
READY = b"is ready"
START_LIMIT = 60.0

CAMPAIGN = {
    "ENGINE_LEASE_MS": "1500",
    "ENGINE_DRAIN_SECONDS": "0.5",
    "ENGINE_MAX_ATTEMPTS": "100",
    "ENGINE_MAX_INBOX": "100",
    "ORCHESTRATOR_TURN_TIMEOUT": "60",
    "MODEL_FIRST_BYTE_TIMEOUT": "2",
    "MODEL_IDLE_TIMEOUT": "2",
}
"""Settings under which much happens in a short time."""


@dataclass(eq=False)
class Child:
    """One process of the product, kept running."""

    name: str
    arguments: tuple[str, ...]
    world: World
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    starts: int = 0

    @property
    def log(self) -> Path:
        """Where it writes to."""
        return self.world.home / f"{self.name}.log"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it lives."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def keep(self) -> None:
        """Start it again and again until cancelled."""
        while True:
            process = await self._start()
            watching = asyncio.create_task(self._watch_ready())
            try:
                await process.wait()
            finally:
                watching.cancel()
                self.ready.clear()
            await asyncio.sleep(0.1)

    async def _start(self) -> asyncio.subprocess.Process:
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self.arguments,
                env=self.world.environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.world.home,
                start_new_session=True,
            )
        return self.process

    async def _watch_ready(self) -> None:
        before = self.log.read_bytes().count(READY)
        while not (
            await self.world.web_answers()
            if self is self.world.web
            else self.log.read_bytes().count(READY) > before
        ):
            await asyncio.sleep(0.05)
        self.ready.set()


@dataclass(eq=False)
class World:
    """Everything that runs."""

    home: Path
    port: int
    model: FaultyModel
    proxy: FaultProxy
    server: EmbeddedServer
    redis: Redis
    """Past the proxy, for the one who checks."""

    key: str = ""
    settings: dict[str, str] = field(default_factory=dict[str, str])
    web: Child = field(init=False)
    workers: list[Child] = field(default_factory=list[Child])
    web_hurt_at: float = -1000.0
    """When the web process itself was last hurt, or had just come back."""

    def __post_init__(self) -> None:
        self.web = Child("web", (str(ROOT / "assistant.py"), "api"), self)

    @property
    def url(self) -> str:
        """Of the web process, however often it was started."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """For processes of the product."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "ASSISTANT_HOME": str(self.home),
            "ASSISTANT_PORT": str(self.port),
            "REDIS_URL": self.proxy.url,
            "OPENAI_BASE_URL": self.model.url,
            "MODEL_NAME": "scripted-demo",
            **self.settings,
        }

    def client(self, *, timeout: float = 10.0) -> httpx.AsyncClient:
        """An HTTP client with an API key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout)

    async def web_answers(self) -> bool:
        """Whether the web process is there."""
        try:
            async with httpx.AsyncClient(timeout=1) as client:
                return (await client.get(f"{self.url}/healthz")).status_code == 200
        except httpx.TransportError:
            return False

    async def start_redis(self) -> None:
        """Start the server again on its data."""
        self.server = await start_server(self.home, StoreSettings())

    async def redis_gone(self) -> None:
        """Wait for the server's end."""
        if self.server.process is not None:
            await self.server.process.wait()

    async def all_ready(self) -> None:
        """Wait until every process works."""
        async with asyncio.timeout(START_LIMIT):
            for child in (self.web, *self.workers):
                await child.ready.wait()

    def hurting_web(self) -> None:
        """Note that answers of the web process may be late now."""
        self.web_hurt_at = time.monotonic()


def reserve_port() -> socket.socket:
    """A port that nobody else gets, while the web process may come and go on it."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


@asynccontextmanager
async def running_world(*, workers: int = 2, **settings: str) -> AsyncGenerator[World]:
    """A web process and workers behind a fault proxy, and a model with faults."""
    home = Path(tempfile.mkdtemp(prefix="asst-chaos-"))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        holder = stack.enter_context(contextlib.closing(reserve_port()))
        model = await stack.enter_async_context(faulty_model(home / "model.jsonl"))
        server = await start_server(home, StoreSettings())
        stack.push_async_callback(_stop_redis, home)
        proxy = await stack.enter_async_context(fault_proxy(server.url))
        redis = connect(server.url)
        stack.push_async_callback(redis.aclose)
        port = holder.getsockname()[1]
        world = World(home, port, model, proxy, server, redis, settings=settings)
        await set_first_password(redis, PASSWORD)
        _, world.key = await create_key(redis, USER, "chaos", "admin")
        world.workers = [Child(f"worker{n}", (str(WORKER),), world) for n in range(1, workers + 1)]
        children = [world.web, *world.workers]
        tasks = [asyncio.create_task(child.keep(), name=child.name) for child in children]
        try:
            await world.all_ready()
            yield world
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await _end(children)


async def _end(children: list[Child]) -> None:
    for child in children:
        child.signal(signal.SIGKILL)
        if child.process is not None:
            await child.process.wait()


async def _stop_redis(home: Path) -> None:
    server = await running_server(home)
    if server is not None:
        await server.stop()


async def settled(world: World, timeout: float = 60) -> None:
    """Wait until every fault is over and every process works again."""
    await wait_until(lambda: world.proxy.mode == "pass", timeout=timeout)
    await world.all_ready()
