"""`assistant up`: the supervisor. Starts the embedded server, the web process, workers and
channels, keeps them running, and stops them in order. It stays small: it holds no connections and
does no work of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from api.commands import BAD_USE
from api.commands.process import process_settings, warn_of_slips
from channels import CHANNELS
from core.errors import AssistantError, ConfigError, StoreError
from core.home.embedded import EmbeddedServer, home_lock, running_server, start_server
from core.home.lifeline import CALL
from core.settings.source import HOME_VARIABLE, Loaded, child_environment

log = logging.getLogger(__name__)

WATCH = 1.0
"""Seconds between looks at the embedded server."""

HERE = Path(__file__).resolve().parents[2]
FRONT_DOOR = (HERE.parent if HERE.name == "_assistant" else HERE) / "assistant.py"
"""In a checkout beside our packages, installed beside the folder that holds them."""

QUICK_DEATH = 10.0
MAX_QUICK_DEATHS = 5
STOP_TIMEOUT = 20.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="worker processes (default 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM."""
    if args.workers < 1:
        raise ConfigError("--workers must be at least 1")
    loaded = process_settings()
    warn_of_slips(loaded)
    demo = args.command == "demo"
    home = loaded.settings.home / "demo" if demo else loaded.settings.home
    return asyncio.run(_supervise(loaded, home, workers=args.workers, demo=demo))


@dataclass(eq=False)
class Child:
    """A process of ours, started anew when it dies."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    fds: tuple[int, ...]
    process: asyncio.subprocess.Process | None = None
    deaths: list[float] = field(default_factory=list[float])
    called: asyncio.Event | None = None
    """Of a channel: set when it may be wanted again. It ends when the settings do not want it."""

    async def start(self) -> asyncio.subprocess.Process:
        """Start the process in a session of its own, so that Ctrl-C reaches the supervisor
        alone."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(FRONT_DOOR),
            *self.arguments,
            env=self.environment,
            pass_fds=self.fds,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        return self.process

    async def keep_running(self) -> None:
        """Start again after each death. Raises StoreError when it dies again and again. A channel
        rests then: the others go on without it."""
        while True:
            if self.called is not None:
                self.called.clear()
            process = await self.start()
            code = await process.wait()
            if code == os.EX_OK and self.called is not None:
                await self.called.wait()
                continue
            if code == os.EX_OK:
                return
            if code == BAD_USE:  # it has said what is wrong, and a restart does not fix it
                await self._give_up(ConfigError(f"the {self.name} process cannot start like this"))
                continue
            if code == os.EX_TEMPFAIL:  # Redis is away; it has said so, and may be for long
                await asyncio.sleep(WATCH)
                continue
            now = time.monotonic()
            self.deaths = [
                at for at in self.deaths if now - at < QUICK_DEATH * MAX_QUICK_DEATHS
            ] + [now]
            if len(self.deaths) > MAX_QUICK_DEATHS:
                why = f"the {self.name} process keeps dying (exit code {code})"
                await self._give_up(StoreError(f"{why}; see its messages above"))
                continue
            log.warning("the %s process died (exit code %d); it is started again", self.name, code)
            await asyncio.sleep(0.2 * len(self.deaths))

    async def _give_up(self, error: AssistantError) -> None:
        if self.called is None:
            raise error
        log.error("%s; it is tried again when its settings change", error)
        self.deaths.clear()
        await self.called.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not end it."""
        if self.process is None or self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def _supervise(loaded: Loaded, home: Path, *, workers: int, demo: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(home_lock(home))
        server = None
        if not loaded.settings.store.redis_url:
            server = await start_server(home, loaded.settings.store)
            stack.push_async_callback(_stop_server, home)
        changes = {HOME_VARIABLE: str(home)}
        if demo:
            changes |= await stack.enter_async_context(_demo_model())
        children = _children(stack, workers, changes)
        loop.add_signal_handler(CALL, _call, children)
        tasks = [asyncio.create_task(child.keep_running(), name=child.name) for child in children]
        if server is not None:
            tasks.append(asyncio.create_task(_keep_server(server, loaded)))
        try:
            return await _until_stopped(stop, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*(child.stop() for child in children))


def _children(stack: AsyncExitStack, workers: int, changes: dict[str, str]) -> list[Child]:
    """The web process, the workers, and the channels, which rest while the settings do not want
    them. They hold a pipe that ends when the supervisor dies."""
    read, write = os.pipe()
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    environment = child_environment(read, **changes)
    children = [Child("web", ("api",), environment, (read,))]
    children += [
        Child(f"worker {n}", ("worker",), environment, (read,)) for n in range(1, workers + 1)
    ]
    children += [
        Child(channel.name, (channel.name,), environment, (read,), called=asyncio.Event())
        for channel in CHANNELS
    ]
    return children


def _call(children: list[Child]) -> None:
    """The settings may want a channel that rests."""
    for child in children:
        if child.called is not None:
            child.called.set()


async def _until_stopped(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> int:
    """Exit code: 0 when asked to stop; raises what ended a child for good."""
    waiting = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    for task in done - {waiting}:
        task.result()
        log.error("the %s process has stopped by itself", task.get_name())
        return 1
    print("stopping …", flush=True)
    return 0


async def _keep_server(server: EmbeddedServer, loaded: Loaded) -> None:
    """Start the embedded server again when it dies (a full disk, a kill)."""
    while True:
        if server.process is not None:
            await server.process.wait()
        else:
            await asyncio.sleep(WATCH)
            if await server.alive():
                continue
        log.warning("the embedded server died; it is started again")
        try:
            server = await start_server(server.home, loaded.settings.store)
        except StoreError as error:
            log.error("%s; trying again", error)
            await asyncio.sleep(WATCH)


async def _stop_server(home: Path) -> None:
    """Stop the server that runs on this home now."""
    server = await running_server(home)
    if server is not None:
        await server.stop()


@asynccontextmanager
async def _demo_model() -> AsyncGenerator[dict[str, str]]:
    """The scripted model on a free port; yields the environment that points to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    read, write = os.pipe()
    fds = (listener.fileno(), read)
    arguments = ("demo-model", "--fd", str(listener.fileno()))
    child = Child("scripted model", arguments, child_environment(read), fds)
    task = asyncio.create_task(child.keep_running())
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    try:
        yield {"OPENAI_BASE_URL": url, "MODEL_NAME": "scripted-demo"}
    finally:
        task.cancel()
        await child.stop()
        listener.close()
        os.close(read)
        os.close(write)
