"""Reading on in a tool result that was too long to be shown whole."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.engine.kept import KeptResults
from core.errors import ToolError
from core.models.estimate import head, text_tokens
from core.services import Services
from tools.base import InjectedCaller, Tool, Traits, tool
from tools.shares import shown_tokens

MOST = 20_000
"""Characters of one answer."""

MATCHES = 20
AROUND = 120
"""Characters that are shown on each side of a match."""


def toolset(services: Services) -> Sequence[Tool]:
    """read_result."""
    kept = KeptResults(services.store)

    async def read_result(
        caller: InjectedCaller, result_id: str, offset: int = 0, length: int = MOST, find: str = ""
    ) -> str:
        """Read on in a tool result that was too long to be shown whole, or search it.

        Args:
            caller: Set by the assistant.
            result_id: The id under the shortened result.
            offset: Character to begin at; a negative one counts from the end.
            length: Characters to read.
            find: Words to search for from there on, instead of reading.
        """
        text = await kept.read(caller.thread_id, result_id.strip())
        if text is None:
            raise ToolError(
                f"there is no kept result {result_id[:40]!r} in this conversation; it may have "
                "made room for newer ones. Call the tool that made it again."
            )
        start = min(max(offset + len(text) if offset < 0 else offset, 0), len(text))
        tokens = await shown_tokens(services)
        if find:
            return found(text, find, start, tokens)
        return part(text, start, min(max(length, 1), MOST), tokens)

    return (tool(read_result, Traits(reads_kept=True)),)


def part(text: str, start: int, length: int, tokens: int) -> str:
    """A part of the text and where it stands, at most about ``tokens`` long."""
    piece = head(text[start : start + length], tokens)
    end = start + len(piece)
    on = f"; read on with offset={end}" if end < len(text) else "; this is the end"
    return f"{piece}\n[characters {start} to {end} of {len(text)}{on}]"


def found(text: str, words: str, start: int, tokens: int) -> str:
    """Where the words stand, upper and lower case alike, each time with what is around them."""
    places = [m.start() for m in re.finditer(re.escape(words), text[start:], re.IGNORECASE)]
    if not places:
        return f"{words[:80]!r} is not in the characters {start} to {len(text)}."
    lines: list[str] = []
    left = tokens
    for place in places[:MATCHES]:
        at = start + place
        line = head(text[max(at - AROUND, 0) : at + len(words) + AROUND], max(left, 1))
        left -= text_tokens(line)
        lines.append(f"[at {at}] {line}")
        if left <= 0:
            break
    some = "" if len(lines) == len(places) else f", the first {len(lines)} of them"
    return f"{len(places)} matches{some}:\n" + "\n".join(lines)
