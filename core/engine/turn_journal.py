"""Writes the events of one turn: the first token at once, then joined every 40 ms."""

from __future__ import annotations

import asyncio
import logging
import time

from core.engine.mailbox import Mailbox, Turn
from core.errors import Fenced, StoreError
from core.events import Event, ReasoningDelta, TextDelta
from core.metrics import JOURNAL_LAG, JOURNAL_WRITE
from core.settings.groups import EngineSettings

log = logging.getLogger(__name__)

WINDOW = 0.04
"""Seconds over which deltas are joined: 20 turns at 60 tokens/s cost a third of the entries, and a
reader sees text 30 ms later on average (docs/performance.md)."""

RETRY_PAUSE = 0.3
OUTAGE_LIMIT = 120.0
"""Seconds for which a turn goes on while Redis is away, before it is given back."""


class TurnJournal:
    """Events of one turn on their way to the journal, in order, each once."""

    def __init__(self, mailbox: Mailbox, turn: Turn, settings: EngineSettings) -> None:
        self._mailbox = mailbox
        self._turn = turn
        self._settings = settings
        self._waiting: list[Event] = []
        self._sequence = 0
        self._last = 0.0
        self._oldest = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._error: Exception | None = None

    def put(self, event: Event) -> None:
        """Take an event; it is written soon. Raises what an earlier write met (Fenced,
        StoreError)."""
        if self._error is not None:
            raise self._error
        self._add(event)
        if not isinstance(event, TextDelta | ReasoningDelta):
            self._start()
        elif self._task is None and self._timer is None:
            pause = self._last + WINDOW - self._loop.time()
            if pause <= 0:
                self._start()
            else:
                self._timer = self._loop.call_later(pause, self._start)

    def _add(self, event: Event) -> None:
        """Neighbouring deltas of one kind become one event."""
        if self._waiting:
            match self._waiting[-1], event:
                case (TextDelta(before), TextDelta(text)):
                    self._waiting[-1] = TextDelta(before + text)
                    return
                case (ReasoningDelta(before), ReasoningDelta(text)):
                    self._waiting[-1] = ReasoningDelta(before + text)
                    return
                case _:
                    pass
        else:
            self._oldest = time.perf_counter()  # finer than the loop's clock
        self._waiting.append(event)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None and self._waiting:
            self._task = self._loop.create_task(self._write())
            self._task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Exception):
            self._error = error
        elif self._waiting and self._timer is None:
            self._timer = self._loop.call_later(WINDOW, self._start)

    async def _write(self) -> None:
        self._last = self._loop.time()
        batch, self._waiting = self._waiting, []
        oldest, begun = self._oldest, time.perf_counter()
        self._sequence += 1
        end = self._last + OUTAGE_LIMIT
        while True:
            try:
                await self._mailbox.emit(self._turn, self._sequence, batch, self._settings)
            except Fenced:
                raise
            except StoreError as error:
                if self._loop.time() > end:
                    raise
                log.warning("run %s: event not written yet: %s", self._turn.run_id, error)
                await asyncio.sleep(RETRY_PAUSE)
            else:
                now = time.perf_counter()
                JOURNAL_WRITE.observe(now - begun)
                JOURNAL_LAG.observe(now - oldest)
                return

    async def flush(self) -> None:
        """Return once all is written. Raises Fenced, StoreError."""
        while self._task is not None or self._waiting:
            if self._task is None:
                self._start()
            if self._task is not None:
                await asyncio.wait([self._task])
                await asyncio.sleep(0)
            if self._error is not None:
                raise self._error

    def take_rest(self) -> list[Event]:
        """Events not yet handed to Redis; the caller writes them with the end of the turn.

        Only after ``settle``: what is on its way must arrive first.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rest, self._waiting = self._waiting, []
        return rest

    async def settle(self) -> None:
        """Wait for the write that is on its way, without starting another. Raises Fenced,
        StoreError."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._task is not None:
            await asyncio.wait([self._task])
            await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Stop writing; nothing more will come. For turns that were given up."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
