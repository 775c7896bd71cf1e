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
from typing import Any

import httpx
import orjson

from core.accounts.api_keys import create_key
from core.accounts.passwords import set_first_password
from core.home.embedded import EmbeddedServer, running_server, start_server
from core.settings.groups import StoreSettings
from core.store.connection import connect
from tests.chaos.clocks import Clocks, find_library
from tests.chaos.model import FaultyModel, faulty_model
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.servers import server_command
from tests.support.stack import PASSWORD, ROOT, USER
from tests.support.waiting import wait_until

NURSERY = ROOT / "tests" / "chaos" / "nursery.py"
EFFECTS_FILE = "effects.jsonl"
READY = b"is ready"
START_LIMIT = 60.0
SHUTDOWN_LIMIT = 10.0

CAMPAIGN = {
    "ENGINE_LEASE_MS": "1500",
    "ENGINE_DRAIN_SECONDS": "0.5",
    "ENGINE_MAX_ATTEMPTS": "100",
    "ENGINE_MAX_INBOX": "100",
    "ORCHESTRATOR_TURN_TIMEOUT": "300",
    "MODEL_FIRST_BYTE_TIMEOUT": "10",
    "MODEL_IDLE_TIMEOUT": "10",
}
"""Settings under which much happens in a short time."""


class Nursery:
    """Forks processes of the product (nursery.py)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._lock = asyncio.Lock()

    async def start(self, request: dict[str, Any]) -> tuple[int, asyncio.Future[int]]:
        """The pid, and the exit code once there is one."""
        assert self._process.stdin is not None
        async with self._lock:
            self._process.stdin.write(orjson.dumps(request) + b"\n")
            pid = await self._started.get()
        return pid, self._end_of(pid)

    def _end_of(self, pid: int) -> asyncio.Future[int]:
        return self._ends.setdefault(pid, asyncio.get_running_loop().create_future())

    async def listen(self) -> None:
        """Hear what it says, until cancelled."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            match orjson.loads(line):
                case {"started": pid}:
                    self._ends.pop(pid, None)
                    self._started.put_nowait(pid)
                case {"ended": pid, "code": code}:
                    end = self._end_of(pid)
                    if not end.done():
                        end.set_result(code)
                case _:
                    pass


@asynccontextmanager
async def running_nursery(clocks: Clocks) -> AsyncGenerator[Nursery]:
    """A nursery that has imported everything."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(NURSERY),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        # What it starts has the library already, and looks at a clock of its own.
        env={**os.environ, **clocks.environment("nursery")},
    )
    assert process.stdin is not None
    nursery = Nursery(process)
    listening = asyncio.create_task(nursery.listen())
    try:
        yield nursery
    finally:
        process.stdin.close()
        await process.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@dataclass(eq=False)
class Child:
    """One process of the product, kept running."""

    name: str
    command: str
    world: World
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    pid: int = 0
    starts: int = 0

    @property
    def log(self) -> Path:
        """Where it writes to."""
        return self.world.home / f"{self.name}.log"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it lives."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def keep(self) -> None:
        """Start it again and again until cancelled; then kill it."""
        while True:
            before = self._marks()
            self.starts += 1
            self.pid, end = await self.world.nursery.start(self._request())
            watching = asyncio.create_task(self._watch_ready(before))
            try:
                self.world.note(f"{self.name} ended with {await asyncio.shield(end)}")
            except asyncio.CancelledError:
                self.signal(signal.SIGKILL)
                await end
                raise
            finally:
                self.pid = 0
                watching.cancel()
                self.ready.clear()
            await asyncio.sleep(0.1)

    def _request(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "log": str(self.log),
            "folder": str(self.world.home),
            "environment": self.world.environment(self.name),
        }

    def _marks(self) -> int:
        return self.log.read_bytes().count(READY) if self.log.exists() else 0

    async def _watch_ready(self, before: int) -> None:
        await wait_until(lambda: self._works(before), timeout=3600, every=0.05)
        self.ready.set()
        self.world.note(f"{self.name} is ready")

    async def _works(self, before: int) -> bool:
        if self.command == "api":
            return await self.world.web_answers()
        return self._marks() > before


@dataclass(eq=False)
class World:
    """Everything that runs."""

    home: Path
    port: int
    clocks: Clocks
    nursery: Nursery
    model: FaultyModel
    proxy: FaultProxy
    server: EmbeddedServer
    redis: Any
    """Past the proxy, for the one who checks; redis-py types every answer as a union."""

    key: str = ""
    settings: dict[str, str] = field(default_factory=dict[str, str])
    web: Child = field(init=False)
    workers: list[Child] = field(default_factory=list[Child])
    web_hurt_at: float = -1000.0
    """When the web process itself was last hurt, or had just come back."""

    timeline: list[str] = field(default_factory=list[str])
    began: float = field(default_factory=time.monotonic)

    def note(self, what: str) -> None:
        """Remember when something happened."""
        self.timeline.append(f"{time.monotonic() - self.began:7.2f} {what}")

    def __post_init__(self) -> None:
        self.web = Child("web", "api", self)

    @property
    def url(self) -> str:
        """Of the web process, however often it was started."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, name: str) -> dict[str, str]:
        """For a process of the product."""
        return {
            **self.clocks.environment(name),
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
        self.clocks.forget(self.server.pid)
        self.server = await start_redis(self.home, self.clocks)

    async def redis_gone(self) -> None:
        """Wait for the server's end, and kill it after a while: the library that sets its clock has
        a lock for which the server's handler of signals may wait in vain."""
        process = self.server.process
        if process is None:
            return
        try:
            async with asyncio.timeout(SHUTDOWN_LIMIT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

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
async def running_world(
    *, workers: int = 2, home: Path | str = "", own_clocks: bool = False, **settings: str
) -> AsyncGenerator[World]:
    """A web process and workers behind a fault proxy, and a model with faults."""
    home = Path(home or tempfile.mkdtemp(prefix="asst-chaos-"))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        holder = stack.enter_context(contextlib.closing(reserve_port()))
        clocks = Clocks(home, find_library() if own_clocks else None)
        nursery = await stack.enter_async_context(running_nursery(clocks))
        model = await stack.enter_async_context(faulty_model(home / "model.jsonl"))
        server = await start_redis(home, clocks)
        stack.push_async_callback(_stop_redis, home)
        proxy = await stack.enter_async_context(fault_proxy(server.url))
        redis = connect(server.url)
        stack.push_async_callback(redis.aclose)
        port = holder.getsockname()[1]
        world = World(home, port, clocks, nursery, model, proxy, server, redis, settings=settings)
        await set_first_password(redis, PASSWORD)
        _, world.key = await create_key(redis, USER, "chaos", "admin")
        world.workers = [Child(f"worker{n}", "worker", world) for n in range(1, workers + 1)]
        children = [world.web, *world.workers]
        tasks = [asyncio.create_task(child.keep(), name=child.name) for child in children]
        try:
            await world.all_ready()
            yield world
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def start_redis(home: Path, clocks: Clocks) -> EmbeddedServer:
    """The server of this home, with a clock of its own."""
    command = clocks.command("redis", server_command())
    return await start_server(home, StoreSettings(), command=command)


async def _stop_redis(home: Path) -> None:
    server = await running_server(home)
    if server is not None:
        await server.stop()


async def settled(world: World, timeout: float = 60) -> None:
    """Wait until every fault is over and every process works again."""
    world.clocks.set_right()
    await wait_until(lambda: world.proxy.mode == "pass", timeout=timeout)
    await world.all_ready()
