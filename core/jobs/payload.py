"""What a job looks like in Redis: plain text as JSON, which cannot run code when it is read.

pydocket writes arguments, results and strikes with cloudpickle and offers no other way. Reading a
pickle runs what it says, so with it everybody who can write to Redis could run code here. This is
the one place that takes it out (tests/style/test_private_doors.py looks at what it relies on).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

import docket.docket
import docket.execution
import docket.worker
import orjson
from docket import Docket
from docket.execution import Execution, TaskFunction
from docket.strikelist import StrikeList

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024
"""Of the arguments of one job; ours are ids."""

SHOWN = 80
"""Characters of a refused job's name or key that the log shows."""


class JobUnreadable(ValueError):
    """The arguments are not in our form."""


class PlainText:
    """Stands in for the module cloudpickle: a tuple of strings, or no named arguments."""

    @staticmethod
    def dumps(value: tuple[object, ...] | dict[str, object]) -> bytes:
        """The arguments as JSON. Raises TypeError for anything but strings."""
        if value == {}:
            return b"{}"
        if not isinstance(value, tuple) or not all(type(item) is str for item in value):
            raise TypeError("a background job takes plain strings only")
        return orjson.dumps(value)

    @staticmethod
    def loads(data: bytes) -> tuple[str, ...] | dict[str, object]:
        """Arguments from JSON. Raises JobUnreadable for everything else, pickles included."""
        if len(data) > MAX_BYTES:
            raise JobUnreadable("its arguments are too long")
        try:
            value: list[object] | dict[str, object] = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise JobUnreadable("its arguments are not plain text") from error
        if value == {}:
            return {}
        texts = tuple(item for item in value if type(item) is str) if type(value) is list else ()
        if type(value) is not list or len(texts) != len(value):
            raise JobUnreadable("its arguments are not plain strings")
        return texts


class NothingKept:
    """Stands in for cloudpickle where results and errors are kept, which nobody reads."""

    @staticmethod
    def dumps(_value: object) -> bytes:
        """Nothing."""
        return b""


class NoStrikes(StrikeList):
    """pydocket's list of blocked jobs, which we never use, without its stream in Redis."""

    def __init__(self, *, name: str, **_connection: Any) -> None:
        super().__init__(name=name)


class CarefulExecution(Execution):
    """A job as it is read from the queue. One that cannot be read does nothing, and is done with:
    an error here would end the runner, again and again."""

    @classmethod
    async def from_message(
        cls,
        docket: Docket,
        message: Mapping[bytes, bytes],
        redelivered: bool = False,
        fallback_task: TaskFunction | None = None,
        message_id: bytes | None = None,
        sync: bool = True,
    ) -> Self:
        """The job of an entry of the stream."""
        try:
            return await super().from_message(
                docket, dict(message), redelivered, fallback_task, message_id, sync
            )
        except (LookupError, TypeError, ValueError) as error:
            key = _shown(message.get(b"key", b""))
            name = _shown(message.get(b"function", b""))
            log.error("the background job %r (%s) is dropped unread: %r", name, key, error)
            return cls(
                docket=docket,
                function=_dropped,
                args=(),
                kwargs={},
                key=message.get(b"key", b"").decode(errors="replace"),
                when=datetime.now(UTC),
                attempt=1,
                redelivered=redelivered,
                generation=_number(message.get(b"generation", b"0")),
                message_id=message_id,
            )


async def _dropped() -> None:
    """What a job does that cannot be read."""


def _shown(text: bytes) -> str:
    return text.decode(errors="replace")[:SHOWN]


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


def use_plain_payloads() -> None:
    """Take cloudpickle out of pydocket, before anything is read or written. Safe to repeat."""
    for module, name, ours in (
        (docket.execution, "cloudpickle", PlainText),
        (docket.worker, "cloudpickle", NothingKept),
        (docket.worker, "Execution", CarefulExecution),
        (docket.docket, "StrikeList", NoStrikes),
    ):
        setattr(module, name, ours)
