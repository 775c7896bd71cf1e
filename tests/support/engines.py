"""Workers with a scripted handler, in this process or killed like a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from core.engine.mailbox import Turn
from core.engine.turn_journal import TurnJournal
from core.engine.turns import Ending, HandOver, TurnControl, plain_ending
from core.engine.worker import Worker
from core.errors import Fenced
from core.events import TurnFinished
from core.home.secrets import SecretBox
from core.live_settings.live import LiveSettings
from core.services import beside
from core.settings.source import Layer, Loaded, build
from core.store import keys
from core.store.client import Store
from core.store.connection import connect
from core.store.listening import Announcements
from core.store.opening import open_store
from core.telemetry.share import process_name

Work = Callable[[Turn, TurnJournal], Awaitable[None]]


def live_settings(store: Store, home: Path, **engine: object) -> LiveSettings:
    """Live settings with a group of the test's choice."""
    layer: Layer = {"engine": engine}
    loaded: Loaded = build(home, (("config", layer),))
    return LiveSettings(loaded, store, SecretBox(bytes(32)))


async def nothing(turn: Turn, journal: TurnJournal) -> None:
    """A turn that ends at once."""


@dataclass(eq=False)
class Crew:
    """A worker in this process, and what its handler met."""

    worker: Worker
    store: Store
    task: asyncio.Task[None]
    begun: list[str] = field(default_factory=list[str])
    ended: list[str] = field(default_factory=list[str])
    running: set[str] = field(default_factory=set[str])
    together: int = 0
    """Most turns of one thread at the same time; must stay 1."""

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.worker.name

    async def die(self) -> None:
        """As kill -9: no farewell, nothing released."""
        ours = [task for task in asyncio.all_tasks() if self._is_ours(task)]
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)

    def _is_ours(self, task: asyncio.Task[object]) -> bool:
        frame = getattr(task.get_coro(), "cr_frame", None)
        owner = frame.f_locals.get("self") if frame is not None else None
        return task is self.task or task.get_name().startswith(self.name) or owner is self.worker

    async def drained(self) -> None:
        """As SIGTERM."""
        self.worker.drain()
        await self.task


def ending(turn: Turn, status: str = "completed") -> Ending:
    """The ending of a handler in these tests: the record is the message's id."""
    events = (TurnFinished("completed"),) if status == "completed" else plain_ending(status, status)
    return Ending(events, [orjson.dumps([turn.inbound.id, status])])


def give_up(turn: Turn, code: str, detail: str) -> Ending:
    """The ending of a turn that is not run."""
    return Ending(plain_ending(code, detail), [orjson.dumps([turn.inbound.id, code])])


class Scripted:
    """The port that the graph's runner fills in production."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.crew: Crew | None = None
        self._threads: list[str] = []

    async def __call__(self, turn: Turn, control: TurnControl, journal: TurnJournal) -> Ending:
        assert self.crew is not None
        crew, thread = self.crew, turn.thread_id
        self._threads.append(thread)
        crew.together = max(crew.together, self._threads.count(thread))
        crew.begun.append(turn.inbound.id)
        crew.running.add(turn.inbound.id)
        task = asyncio.create_task(self._work(turn, journal), name=f"{crew.name}/{turn.run_id}")
        control.watch(task)
        try:
            await task
        except asyncio.CancelledError:
            if control.reason == "drain":
                raise HandOver from None
            if control.reason == "lost":
                raise Fenced("lost") from None
            if control.reason == "user":
                return ending(turn, "cancelled")
            raise
        finally:
            task.cancel()
            self._threads.remove(thread)
            crew.running.discard(turn.inbound.id)
        crew.ended.append(turn.inbound.id)
        return ending(turn)

    async def _work(self, turn: Turn, journal: TurnJournal) -> None:
        await self.work(turn, journal)


@asynccontextmanager
async def working(
    url: str, home: Path, work: Work = nothing, *, handler: Scripted | None = None, **engine: object
) -> AsyncGenerator[Crew]:
    """A running worker."""
    blocking = connect(url, blocking=True)
    async with open_store(url) as store:
        scripted = handler or Scripted(work)
        live = live_settings(store, home, **engine)
        worker = Worker(store, blocking, live, scripted, give_up, name=process_name())
        announcements = Announcements(blocking)
        await announcements.hear(keys.cancellations(), worker.hear_cancellation)
        async with beside(announcements.run(), name=f"{worker.name}/announcements"):
            crew = Crew(worker, store, asyncio.create_task(_run(worker), name=f"{worker.name}/run"))
            scripted.crew = crew
            try:
                yield crew
            finally:
                worker.drain()
                await asyncio.gather(crew.task, return_exceptions=True)
        await blocking.aclose()


async def _run(worker: Worker) -> None:
    await worker.run()
