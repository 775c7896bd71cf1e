"""Hears one answer of a model under test: for a while, and never more than enough."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from core.models.errors import ModelError
from core.models.reported import Reported
from core.models.request import encode
from core.models.wire.chunks import ChunkReader
from core.models.wire.pieces import ModelAnswer
from core.models.wire.tools import known_tools
from core.models.wire.transport import Transport

ANSWER_SECONDS = 8.0
"""How long an answer that has begun is heard."""
ENOUGH = 256 * 1024
"""Characters of an answer that are looked at."""
UNREADABLE = (RecursionError, TypeError, ValueError, KeyError, AttributeError)
"""What reading an answer of a hostile or broken server may raise."""


@dataclass(slots=True)
class Heard:
    """One answer of the model under test."""

    answer: ModelAnswer
    streamed: bool
    usage_reported: bool
    close_only: bool
    whole: bool
    """It came to its own end in time."""

    @property
    def is_json(self) -> bool:
        """It is written for a machine."""
        text = self.answer.text.strip()
        return text.startswith(("{", "[{", "```json", "```\n{", "<tool"))


async def hear(
    transport: Transport,
    url: str,
    body: dict[str, Any],
    *,
    api_key: str,
    until: float,
    end: float,
) -> Heard:
    """One answer, looked at until ``end`` at the latest (both in the time of ``time.monotonic``).

    Raises TimeoutError when it has not begun at ``until``, ModelError, and what a server's bad
    manners make a parser raise (``UNREADABLE``).
    """
    reader, reported = ChunkReader(known_tools(body.get("tools")), secrets=(api_key,)), Reported()
    async with asyncio.timeout(max(0.05, until - time.monotonic())):
        stream = await transport.post_stream(url, encode(body), api_key=api_key)
    begun = False
    try:
        while not stream.ended and _size(reader) < ENOUGH:
            if reader.any_output and not begun:
                begun, until = True, min(end, time.monotonic() + ANSWER_SECONDS)
            try:
                chunks = await stream.read(max(0.05, until - time.monotonic()))
            except TimeoutError:
                if not begun:
                    raise
                break
            for chunk in chunks:
                reader.add(chunk)
                reported.add(chunk)
            if time.monotonic() > until:
                if not begun:
                    raise TimeoutError
                break
        if not reader.any_chunk:
            raise ModelError("garbage", "The model server sent an empty answer.")
        whole = stream.ended and reader.finish_reason != "length"
        # Long thinking is no failure of the test: what matters is what came.
        _end(reader, whole=whole)
    finally:
        await stream.aclose()
    return Heard(
        ModelAnswer().add(reader.take()),
        stream.is_event_stream,
        reported.usage is not None,
        reader.saw_close_only,
        whole,
    )


def _end(reader: ChunkReader, *, whole: bool) -> None:
    """Flush what is held back; half a call of an answer that was cut is no call."""
    reader.finish_reason = "stop"
    if whole:
        reader.end()
        return
    try:
        reader.end()
    except ModelError:
        reader.flush()


def _size(reader: ChunkReader) -> int:
    return len(reader.visible) + len(reader.thought) + reader.call_characters
