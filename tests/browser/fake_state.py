"""What the fake API holds: threads, their journals, and turns that play a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from dashboard.failures import FAILURES

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Gate:
    """The script waits here until the test opens the gate of this name."""

    name: str


@dataclass(frozen=True)
class Pause:
    """The script waits for this many seconds; for looking at, not for tests."""

    seconds: float


Step: TypeAlias = "Gate | Pause | tuple[str, Json]"
Script: TypeAlias = Sequence[Step]


def text(piece: str) -> Step:
    """A piece of the answer."""
    return ("text_delta", {"text": piece})


def think(piece: str) -> Step:
    """A piece of the thinking."""
    return ("reasoning_delta", {"text": piece})


def answer(*pieces: str) -> list[Step]:
    """A whole answer in these pieces."""
    return [*(text(piece) for piece in pieces), ("message_completed", {"text": "".join(pieces)})]


def failing(code: str, detail: str, *, retryable: bool = True) -> Step:
    """The turn fails with a code that the server has, too."""
    assert code in FAILURES, f"the server knows no {code!r}"
    return ("turn_failed", {"code": code, "detail": detail, "retryable": retryable})


def now() -> str:
    """This moment as the API writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Thread:
    """One thread with its journal; entry n has the id ``1700000000000-n``."""

    id: str
    title: str
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)
    messages: list[Json] = field(default_factory=list[Json])
    waiting: list[Json] = field(default_factory=list[Json])
    journal: list[tuple[str, str, Json]] = field(default_factory=list[tuple[str, str, Json]])
    running: str | None = None
    run_begins: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    deleted: bool = False

    def emit(self, kind: str, run_id: str, payload: Json) -> None:
        """Append an event and wake the readers."""
        entry_id = f"1700000000000-{len(self.journal) + 1}"
        data = {"type": kind, "thread_id": self.id, "run_id": run_id, "at": now(), **payload}
        self.journal.append((entry_id, kind, data))
        self.wake()

    def wake(self) -> None:
        """Let the readers look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def since(self) -> str:
        """What a reader of the messages already has."""
        known = self.run_begins if self.running else len(self.journal)
        return f"1700000000000-{known}"

    def summary(self) -> Json:
        """The thread as a list shows it."""
        return {
            "id": self.id,
            "title": self.title,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


@dataclass
class World:
    """Everything the fake API knows. It runs in the loop of the tests, so they may change it."""

    scripts: Mapping[str, Script] = field(default_factory=dict[str, Script])
    fallback: Script = ()
    threads: dict[str, Thread] = field(default_factory=dict[str, Thread])
    gates: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    cancelled: set[str] = field(default_factory=set[str])
    calls: list[tuple[str, str, Any]] = field(default_factory=list[tuple[str, str, Any]])
    settings: dict[str, Json] = field(default_factory=dict[str, Json])
    profile: dict[str, str] = field(default_factory=dict[str, str])
    servers: list[Json] = field(default_factory=list[Json])
    report: Json | None = None
    signed_in: bool = True
    password: str = "correct horse"
    setup_token: str = "token-1"
    refuse_next: Json | None = None
    cut_after: int = 0
    connections: int = 0
    trouble: Json | None = None
    status_streams: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    model: str = "scripted demo model"
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    runs: int = 0

    def gate(self, name: str) -> asyncio.Event:
        """The gate of this name."""
        return self.gates.setdefault(name, asyncio.Event())

    def be_in(self, code: str | None) -> None:
        """Let a trouble begin, or (None) end."""
        self.trouble = {"code": code, "detail": "what the server says of it"} if code else None
        self.changed.set()
        self.changed = asyncio.Event()

    def delete(self, thread_id: str) -> None:
        """Forget a thread and tell its readers."""
        thread = self.threads.pop(thread_id)
        thread.deleted = True
        thread.wake()

    def submit(self, thread: Thread, message: Json) -> str:
        """Queue a message; its turn begins when no other runs."""
        self.runs += 1
        run_id = f"r{self.runs}"
        thread.waiting.append({**message, "run_id": run_id})
        if thread.running is None:
            self._begin(thread)
        return run_id

    def _begin(self, thread: Thread) -> None:
        thread.running = thread.waiting[0]["run_id"]
        thread.run_begins = len(thread.journal)
        task = asyncio.create_task(self._play(thread, thread.waiting[0]))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _play(self, thread: Thread, message: Json) -> None:
        run_id: str = message["run_id"]
        thread.emit("turn_started", run_id, {"message_id": message["id"], "attempt": 1})
        record = self._record(message)
        script = self.scripts.get(message["text"], self.fallback)
        async for kind, payload in self._steps(script, run_id):
            full = {**self._extras(kind, message), **payload}
            _keep(record, kind, full)
            thread.emit(kind, run_id, full)
        if run_id in self.cancelled:
            record["status"] = "cancelled"
        self._end(thread, message, record)

    async def _steps(self, script: Script, run_id: str) -> AsyncIterator[tuple[str, Json]]:
        for step in script:
            match step:
                case Gate(name):
                    await self._wait(self.gate(name), run_id)
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case (kind, payload):
                    yield kind, payload
            if run_id in self.cancelled:
                return

    async def _wait(self, gate: asyncio.Event, run_id: str) -> None:
        stopped = self.gate(f"cancel {run_id}")
        waits = [asyncio.ensure_future(event.wait()) for event in (gate, stopped)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _end(self, thread: Thread, message: Json, record: Json) -> None:
        thread.waiting.pop(0)
        if "retry_of" not in message:
            thread.messages.append({**message, "role": "user", "tools": [], "status": "completed"})
        asked = record["answer_to"]
        thread.messages = [m for m in thread.messages if m.get("answer_to") != asked]
        thread.messages.append(record)
        thread.running = None
        thread.updated_at = now()
        thread.emit("turn_finished", message["run_id"], {"status": record["status"]})
        if thread.waiting:
            self._begin(thread)

    def _record(self, message: Json) -> Json:
        return {
            "id": f"a-{message['run_id']}",
            "role": "assistant",
            "answer_to": message.get("retry_of", message["id"]),
            "run_id": message["run_id"],
            "text": "",
            "reasoning": "",
            "tools": [],
            "created_at": now(),
            "status": "completed",
        }

    def _extras(self, kind: str, message: Json) -> Json:
        match kind:
            case "message_completed":
                usage = {"prompt_tokens": 812, "completion_tokens": 243, "estimated": False}
                return {"message_id": f"a-{message['run_id']}", "usage": usage, "model": self.model}
            case "turn_started":
                return {"message_id": message["id"]}
            case _:
                return {}


def _keep(record: Json, kind: str, payload: Json) -> None:
    """What the stored answer keeps of an event."""
    match kind:
        case "turn_started":
            record |= {"text": "", "reasoning": "", "tools": []}
        case "text_delta":
            record["text"] += payload["text"]
        case "reasoning_delta":
            record["reasoning"] += payload["text"]
        case "message_completed":
            record |= {name: payload[name] for name in ("text", "usage", "model")}
        case "tool_started":
            record["tools"].append({**payload, "status": "running"})
        case "tool_finished":
            for tool in record["tools"]:
                if tool["call_id"] == payload["call_id"]:
                    tool |= payload
        case "turn_failed":
            record |= {"status": "failed", "error": payload}
        case _:
            pass
