"""The saver of one turn: holds writes back until they are worth a round trip.

LangGraph saves a turn's input, then the step that hands it to the first node, before that node
runs. Losing both costs nothing: the message is still in its inbox, and the turn begins anew. So
they wait and travel with the first write that matters, the first node's result.

A result after which nothing runs waits too, for the checkpoint that follows at once. A plain turn
so has one round trip in all, at its end (``flush``). A turn that fails or is cancelled writes there
what it holds: its message is not forgotten.
"""

from __future__ import annotations

from typing import Any

from core.store.calling import Call
from core.store.reads import Found
from graph.checkpoint import calls
from graph.checkpoint.saver import RedisSaver, Write


class TurnSaver(RedisSaver):
    """A RedisSaver for the writes of one turn."""

    _held: list[Write]
    _start: str
    _ended: bool
    _found: Found | None

    @classmethod
    def of(cls, saver: RedisSaver, found: Found | None = None) -> TurnSaver:
        """A saver for one turn with the fence and life time of another. ``found`` was read when the
        turn was claimed: it is still true until this saver does anything else."""
        bound = cls.__new__(cls)
        bound.__dict__.update(saver.__dict__)
        bound._held = []
        bound._start = ""
        bound._ended = False
        bound._found = found
        return bound

    async def flush(self) -> None:
        """Write what is held back. Raises Fenced, StoreError."""
        held, self._held = self._held, []
        if held:
            await super()._run(calls.together([write.call for write in held]))

    async def _write(self, write: Write) -> None:
        self._found = None
        self._held.append(write)
        if not self._may_wait(write):
            await self.flush()

    def _may_wait(self, write: Write) -> bool:
        if write.begins:
            self._start = write.begins
            return True
        if self._start and write.follows == self._start:
            return True
        # Of the end: the last result, and the checkpoint that it leads to.
        waits = write.ends or (self._ended and write.call[0] == "put")
        self._ended = write.ends
        return waits

    async def _run(self, call: Call) -> Any:
        """Everything else sees the state as if nothing had been held back."""
        found, self._found = self._found, None
        if found is not None:
            read = self._as_read(call)
            if read in found:
                return found[read]
        await self.flush()
        return await super()._run(call)
