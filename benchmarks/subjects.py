"""What is measured: each subject is processes of its own, asked through a lean client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from api.demo.model import MODEL
from benchmarks.machine import group
from benchmarks.wire import PATIENCE, Lost, Wire, open_wire
from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import create_key
from core.accounts.passwords import set_first_password
from core.home.embedded import socket_url, start_server
from core.home.web_address import read_address
from core.settings.groups import StoreSettings
from core.store.connection import connect

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 30.0
PASSWORD = "a password for measuring"  # noqa: S105 - of a data folder that lives for minutes


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds from sending a message to its first token and to its end."""

    first: float
    total: float


class Chat(Protocol):
    """One conversation."""

    async def turn(self, tokens: int, pause_ms: int = 0) -> Sample:
        """Ask for so many tokens and wait for all of them. Raises Lost."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Subject(Protocol):
    """Something that answers."""

    name: str

    def pids(self) -> list[int]:
        """The processes that count."""
        ...

    async def open(self) -> Chat:
        """A new conversation, connected and ready."""
        ...


def question(tokens: int, pause_ms: int) -> str:
    """What the scripted model answers with exactly so many tokens, at that pace."""
    return f"bench:{tokens}:{pause_ms}" if pause_ms else f"bench:{tokens}"


def environment(**more: str) -> dict[str, str]:
    """A bare environment: nothing of the user's settings takes part."""
    return {"PATH": os.defpath, "HOME": tempfile.gettempdir(), **more}


@asynccontextmanager
async def process(
    arguments: Sequence[str],
    *,
    fds: Sequence[int] = (),
    log: Path | None = None,
    env: dict[str, str] | None = None,
    limit: int = 2**16,
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run Python with arguments; SIGTERM at the end. ``limit``: bytes of its longest line."""
    # What is not logged is shown: a subject that dies must not pass for a slow one.
    with log.open("ab") if log else nullcontext(None) as errors:
        started = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=ROOT,
            env=env or environment(),
            pass_fds=fds,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            limit=limit,
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGTERM)
        await asyncio.wait_for(started.communicate(), START_SECONDS)


@asynccontextmanager
async def model_server() -> AsyncGenerator[str]:
    """The scripted model as fast as it can, in a process of its own; its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    fd = listener.fileno()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    arguments = ("assistant.py", "demo-model", "--pace", "0", "--fd", str(fd))
    async with process(arguments, fds=(fd,)):
        yield url
    listener.close()


@dataclass
class OneWire:
    """A conversation whose answer comes on the connection that asks."""

    wire: Wire
    path: str
    first: bytes
    thread_id: str = ""

    async def turn(self, tokens: int, pause_ms: int = 0) -> Sample:
        text, started = question(tokens, pause_ms), time.perf_counter()
        body: object = {"thread_id": self.thread_id, "text": text}
        if not self.thread_id:
            messages = [{"role": "user", "content": text}]
            body = {"model": MODEL, "stream": True, "messages": messages}
        self.wire.send("POST", self.path, body)
        answer = await self.wire.until(self.first, b"data: [DONE]")
        await self.wire.end_of_body(answer)
        if f't{tokens} "'.encode() not in answer.data:
            raise Lost(f"an answer without its last token: {answer.data[-300:]!r}")
        return Sample(answer.first - started, answer.last - started)

    def close(self) -> None:
        self.wire.close()


class Raw:
    """The model server alone: its own time is taken off everybody else's."""

    name = "model alone"

    def __init__(self, url: str) -> None:
        self._url = url

    def pids(self) -> list[int]:
        return []

    async def open(self) -> Chat:
        host, port = address(self._url)
        wire = await open_wire(host, port)
        return OneWire(wire, "/v1/chat/completions", b'"content":"t1 ')


@dataclass
class Direct:
    """The `openai` client in a process of its own, which measures itself."""

    process: asyncio.subprocess.Process
    name: str = "openai client"

    def pids(self) -> list[int]:
        return [self.process.pid]

    async def open(self) -> Chat:
        return self

    async def turn(self, tokens: int, pause_ms: int = 0) -> Sample:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(question(tokens, pause_ms).encode() + b"\n")
        measured = json.loads(await asyncio.wait_for(stdout.readline(), PATIENCE))
        assert measured["pieces"] == tokens
        return Sample(measured["first"], measured["total"])

    def close(self) -> None:
        """The process lives on."""


@dataclass
class Bare:
    """The yardstick app."""

    process: asyncio.subprocess.Process
    port: int
    name: str = "bare app"
    _opened: int = 0

    def pids(self) -> list[int]:
        return [self.process.pid]

    async def open(self) -> Chat:
        self._opened += 1
        wire = await open_wire("127.0.0.1", self.port)
        return OneWire(wire, "/chat", b'data: {"text": "t1 ', f"thread-{self._opened}")


@dataclass
class Ours:
    """`assistant up` on a data folder of its own."""

    home: Path
    key: str
    environment: dict[str, str]
    name: str = "assistant"
    process: asyncio.subprocess.Process | None = None
    url: str = ""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def pids(self) -> list[int]:
        assert self.process is not None
        return group(self.process.pid)

    async def start(self, workers: int = 1) -> float:
        """Start; seconds until `readyz` says that a message would be answered."""
        (self.home / "run" / "web.json").unlink(missing_ok=True)
        started = time.perf_counter()
        self.process = await self._stack.enter_async_context(
            process(
                ("assistant.py", "up", "--workers", str(workers)),
                log=self.home / "up.log",
                env=self.environment,
            )
        )
        while not await self._ready():
            if time.perf_counter() - started > START_SECONDS:
                raise Lost(self.log()[-2000:])
            await asyncio.sleep(0.01)
        return time.perf_counter() - started

    def log(self) -> str:
        """What its processes said."""
        file = self.home / "up.log"
        return file.read_text(errors="replace") if file.exists() else ""

    async def _ready(self) -> bool:
        self.url = read_address(self.home)
        if not self.url:
            return False
        try:
            wire = await open_wire(*address(self.url))
            try:
                return bool(await wire.call("GET", "/readyz"))
            finally:
                wire.close()
        except (Lost, OSError, asyncio.IncompleteReadError):
            return False

    async def stop(self) -> None:
        """Stop all of its processes."""
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def open(self, key: str = "") -> OurChat:
        wire = await open_wire(*address(self.url), key or self.key)
        thread = await wire.call("POST", "/api/threads", {})
        return await self._follow(wire, thread["id"], "0-0", key)

    async def join(self, thread_id: str, key: str = "") -> OurChat:
        """Go on with a conversation."""
        wire = await open_wire(*address(self.url), key or self.key)
        thread = await wire.call("GET", f"/api/threads/{thread_id}")
        return await self._follow(wire, thread_id, thread["events_since"], key)

    async def _follow(self, wire: Wire, thread_id: str, since: str, key: str) -> OurChat:
        events = await open_wire(*address(self.url), key or self.key)
        events.send("GET", f"/api/threads/{thread_id}/events?since={since}")
        await events.until(b"", b"retry: 2000")
        return OurChat(wire, events, thread_id)


@dataclass
class OurChat:
    """As a page has it: one connection to send messages, one that follows the events."""

    wire: Wire
    events: Wire
    thread_id: str

    async def turn(self, tokens: int, pause_ms: int = 0) -> Sample:
        whole = "".join(f"t{n} " for n in range(1, tokens + 1)).rstrip()
        return await self.ask(question(tokens, pause_ms), whole)

    async def ask(self, text: str, whole: str) -> Sample:
        """A turn whose answer begins with so much. Raises Lost."""
        started = time.perf_counter()
        await self.send(text)
        answer = await self.events.until(b"event: text_delta", b"event: turn_finished")
        completed = answer.data.partition(b"event: message_completed")[2]
        if f'"text":"{whole}'.encode() not in completed:
            raise Lost(f"not the whole answer: {answer.data[-600:]!r}")
        return Sample(answer.first - started, answer.last - started)

    async def cancelled(self, text: str) -> None:
        """A turn that is stopped at its first token. Raises Lost."""
        run_id = await self.send(text)
        await self.events.until(b"", b"event: text_delta")
        await self.wire.call("POST", f"/api/runs/{run_id}/cancel")
        await self.events.until(b"", b'"status":"cancelled"')

    async def send(self, text: str) -> str:
        """A message; the id of its run."""
        path = f"/api/threads/{self.thread_id}/messages"
        return (await self.wire.call("POST", path, {"text": text}))["run_id"]

    def close(self) -> None:
        self.wire.close()
        self.events.close()


def address(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


@asynccontextmanager
async def direct(url: str) -> AsyncGenerator[Direct]:
    """The floor, started."""
    async with process(("-m", "benchmarks.direct", url)) as started:
        yield Direct(started)


@asynccontextmanager
async def bare(url: str) -> AsyncGenerator[Bare]:
    """The yardstick, started."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    fd = listener.fileno()
    async with process(("-m", "benchmarks.bare_app", url, str(fd)), fds=(fd,)) as started:
        yield Bare(started, listener.getsockname()[1])
    listener.close()


@asynccontextmanager
async def ours(url: str) -> AsyncGenerator[Ours]:
    """The assistant on an existing home (password and API key are set), not yet started."""
    with tempfile.TemporaryDirectory(prefix="asst-bench-") as folder:
        home = Path(folder)
        server = await start_server(home, StoreSettings())
        redis = connect(socket_url(home))
        await set_first_password(redis, PASSWORD)
        _, key = await create_key(redis, FIRST_ACCOUNT, "benchmarks", "admin")
        await redis.aclose()
        await server.stop()
        subject = Ours(
            home,
            key,
            environment(
                ASSISTANT_HOME=folder,
                ASSISTANT_PORT="0",
                OPENAI_BASE_URL=url,
                MODEL_NAME=MODEL,
            ),
        )
        try:
            yield subject
        except BaseException:
            print(subject.log()[-3000:])
            raise
        finally:
            await subject.stop()
