"""Mistral: ``[TOOL_CALLS]`` with a list, or with names before each object."""

from __future__ import annotations

import re

from core.models.wire.calls import MAX_CALLS
from core.models.wire.dialects.base import (
    NAME,
    NEXT_OBJECT,
    Dialect,
    Opener,
    Parsed,
    Tools,
    call,
    json_calls,
)
from core.models.wire.pieces import ToolCall
from core.models.wire.values import behind, read_prefix

NAMED = re.compile(rf"\s*+({NAME})\s*+(?:\[CALL_ID\][\w-]*+\s*+)?+(?:\[ARGS\]\s*+)?+(?=\{{)")
BETWEEN = re.compile(r"\s*+(?:\[TOOL_CALLS\])?+")


def parse(text: str, tools: Tools) -> Parsed | None:
    """``[TOOL_CALLS][{…}]`` or, repeated, ``[TOOL_CALLS]name[ARGS]{…}``."""
    if NEXT_OBJECT.match(text):
        return json_calls(text, tools)
    calls: list[ToolCall] = []
    at = 0
    while len(calls) <= MAX_CALLS and (match := NAMED.match(text, at)):
        decoded = read_prefix(text, match.end())
        found = call(match.group(1), decoded[0], tools) if decoded else None
        if decoded is None or found is None:
            return None
        calls.append(found)
        at = behind(BETWEEN, text, decoded[1])
    return Parsed(tuple(calls), text[at:])


MISTRAL = Dialect(
    "mistral",
    "Mistral, Magistral, Devstral, Ministral",
    openers=(Opener("[TOOL_CALLS]", "", parse),),
    thinking=(("[THINK]", "[/THINK]"),),
)
