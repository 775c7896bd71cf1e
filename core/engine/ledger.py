"""Side effects exactly once, or said to be unknown.

Around each tool call that changes something stands a record in Redis: written "started" before the
call, replaced by the result after it. A turn that is resumed after a crash finds it: a finished
call is not run again, its result is used; a started one may or may not have happened, and nobody
can know.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from core.engine.mailbox import Turn
from core.engine.turn_journal import OUTAGE_LIMIT
from core.events import ToolStatus
from core.ids import new_id
from core.store import keys, scripts
from core.store.client import Store

STARTED = b"started:"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call. ``None`` for status: it was started, and no more is known."""

    status: ToolStatus | None
    text: str


class Ledger:
    """The records of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, turn: Turn, call_id: str) -> Outcome | None:
        """None: the call is noted and may run now. Else what an earlier attempt left.

        Raises Fenced, StoreError; then the call must not run.
        """
        token = STARTED + new_id("c").encode()
        call = scripts.begin_call(
            control=keys.control(turn.thread_id),
            calls=keys.calls(turn.thread_id),
            epoch=turn.epoch,
            call=call_id,
            token=token,
            ttl=turn.ttl,
        )
        known = await self._store.script(call)
        if known is None:
            return None
        if known.startswith(STARTED):
            return Outcome(None, "")
        record = orjson.loads(known)
        return Outcome(record["s"], record["t"])

    async def finish(self, turn: Turn, call_id: str, status: ToolStatus, text: str) -> None:
        """Note the result. Raises StoreError: the outcome is then unknown to a resumed turn."""
        record = orjson.dumps({"s": status, "t": text})
        call = scripts.finish_call(calls=keys.calls(turn.thread_id), call=call_id, record=record)
        await self._store.script(call, deadline=OUTAGE_LIMIT)
