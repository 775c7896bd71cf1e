"""The saver of one turn: holds writes back until they are worth a round trip.

LangGraph saves a turn's input, then the step that hands it to the first node, before that node
runs. Losing both costs nothing: the message is still in its inbox, and the turn begins anew. So
they wait and travel with the first write that matters, the first node's result.

A result after which nothing runs waits too, for the checkpoint that follows at once. A plain turn
so has one round trip in all, at its end (``flush``). A turn that fails or is cancelled writes there
what it holds: its message is not forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from core.store import Arg
from graph.checkpoint import OFFLINE, RedisSaver, Write


class TurnSaver(RedisSaver):
    """A RedisSaver for the writes of one turn."""

    _held: list[Write]
    _start: str
    _ended: bool

    @classmethod
    def of(cls, saver: RedisSaver) -> TurnSaver:
        """A saver for one turn with the fence and life time of another."""
        bound = cls.__new__(cls)
        bound.__dict__.update(saver.__dict__)
        bound._held = []
        bound._start = ""
        bound._ended = False
        return bound

    async def flush(self) -> None:
        """Write what is held back. Raises Fenced, StoreError."""
        if len(self._held) > 1:
            await self._send_together()
        else:
            await self._send_one_by_one()

    async def _write(self, write: Write) -> None:
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
        waits = write.ends or (self._ended and write.script == "put")
        self._ended = write.ends
        return waits

    async def _run(self, script: str, names: Sequence[str], args: Sequence[Arg]) -> Any:
        """Everything else sees the state as if nothing had been held back."""
        await self.flush()
        return await super()._run(script, names, args)

    async def _send_one_by_one(self) -> None:
        held, self._held = self._held, []
        for write in held:
            await super()._run(write.script, write.names, write.args)

    async def _send_together(self) -> None:
        """One round trip for all. Where that fails one by one, with retries: all are repeatable."""
        held = self._held
        try:
            async with self._store.redis.pipeline(transaction=False) as pipe:
                for write in held:
                    digest = self._store.digest(write.script)
                    pipe.evalsha(digest, len(write.names), *write.names, *write.args)
                results = await pipe.execute(raise_on_error=False)
        except OFFLINE:
            await self._send_one_by_one()
            return
        wrong = next((r for r in results if isinstance(r, RedisError)), None)
        if isinstance(wrong, NoScriptError):
            await self._send_one_by_one()
            return
        self._held = []
        if wrong is not None:
            raise self._translated(wrong)
