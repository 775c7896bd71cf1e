"""Stops a step that holds up its whole worker, because it never gives the event loop back.

A stop, a lease, a time limit are heard by the event loop; code that computes without an end, or
waits without `await`, stops all that. So the loop sets an alarm of the operating system further
ahead, again and again. When it rings, the loop has stood still, and the handler runs in the middle
of the code that is to blame, in its context: it knows the turn, and what it raises comes out there.
It needs no thread, which code in C would keep waiting; patterns (`re`) hear it as well.

What swallows the error ends with the process; the supervisor starts another one, and for the turn
that is a crash.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import FrameType

from core.engine.turns import Turns
from core.errors import AssistantError
from core.logs import TURN
from core.store import keys
from core.store.at_once import AtOnce

log = logging.getLogger(__name__)

BEAT = 0.2
FIRST = 0.6
TICK = 0.3
"""Seconds between two beats of the loop, from a beat to the first alarm, and between alarms. A stop
is heard within a second: the first alarm, and the time to end the turn."""

PATIENCE = 3
"""Alarms in one step before it is interrupted because another turn waits for its stop."""

TRIES = 5
"""Times that the code is interrupted before the process ends."""

LAST_RESORT = 30.0
LAST_RESORT_BEAT = 10.0
"""Seconds after which code that hears no alarm ends the process, and how often that is put off."""

STACK = 12
EXIT_CODE = 70


class Stuck(AssistantError):
    """A step held up everything else and was stopped."""

    code = "timeout"
    retryable = True


class Watchdog:
    """Watches the loop that it is made in, while turns run."""

    def __init__(self, turns: Turns, stuck_seconds: Callable[[], float], url: str) -> None:
        self._turns = turns
        self._stuck_seconds = stuck_seconds
        self._store = AtOnce(url)
        self._rings = 0
        self._interrupted = 0
        self._suspect = 0
        """The task that ran when the alarm rang last. Another one is a sign of life: on a busy
        machine the loop may need long to get round."""

    async def beat(self) -> None:
        """Put the alarm off, as long as the loop runs."""
        while True:
            await self._turns.busy.wait()
            while self._turns.busy.is_set():
                self._rings = self._interrupted = 0
                signal.setitimer(signal.ITIMER_REAL, FIRST)
                await asyncio.sleep(BEAT)
            signal.setitimer(signal.ITIMER_REAL, 0)

    async def put_off_the_end(self) -> None:
        """The same for the last resort, a thread of the interpreter that needs no lock of it."""
        while True:
            faulthandler.dump_traceback_later(LAST_RESORT, exit=True)
            await asyncio.sleep(LAST_RESORT_BEAT)

    def ring(self, _signal: int, frame: FrameType | None) -> None:
        """The loop stands still. Raises CancelledError or Stuck into the code that runs."""
        try:
            self._judge(frame)
        finally:
            # Set here and not by the system: it must not ring again before the code has run on.
            signal.setitimer(signal.ITIMER_REAL, TICK)

    def _judge(self, frame: FrameType | None) -> None:
        suspect = id(asyncio.current_task())
        self._rings = self._rings + 1 if suspect == self._suspect else 1
        self._suspect = suspect
        turn = TURN.get()
        run_id = turn[1] if turn is not None else None
        stopped = self._stopped()
        seconds = FIRST + TICK * (self._rings - 1)
        if run_id is not None and run_id in stopped:
            self._interrupt(frame, run_id, seconds)
            self._turns.stop(run_id, "user")
            raise asyncio.CancelledError
        if seconds >= self._stuck_seconds() or (stopped and self._rings >= PATIENCE):
            self._interrupt(frame, run_id, seconds)
            raise Stuck(
                f"A step held up everything else for {seconds:.1f} seconds and was stopped."
            )

    def _interrupt(self, frame: FrameType | None, run_id: str | None, seconds: float) -> None:
        """Say where the code stands; end the process when it cannot be interrupted."""
        self._interrupted += 1
        stack = "".join(traceback.format_stack(frame, limit=STACK))
        log.error("the event loop stands still for %.1f s, here:\n%s", seconds, stack)
        if run_id is None or self._interrupted > TRIES:
            log.critical("this process cannot go on and ends")
            logging.shutdown()
            os._exit(EXIT_CODE)

    def _stopped(self) -> set[str]:
        """Running turns that somebody asked to stop. Asked without the loop, which stands still."""
        turns = [running.turn for running in self._turns.running.values()]
        flags = [keys.cancel_flag(turn.thread_id, turn.run_id) for turn in turns]
        flagged = self._store.which_exist(flags)
        return {turn.run_id for turn, is_set in zip(turns, flagged, strict=True) if is_set}


@asynccontextmanager
async def watched(
    turns: Turns, stuck_seconds: Callable[[], float], url: str
) -> AsyncGenerator[None]:
    """Watch this process's main thread, which the loop must run in, until the end of the block."""
    dog = Watchdog(turns, stuck_seconds, url)
    former = signal.signal(signal.SIGALRM, dog.ring)
    tasks = [asyncio.create_task(dog.beat()), asyncio.create_task(dog.put_off_the_end())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        faulthandler.cancel_dump_traceback_later()
