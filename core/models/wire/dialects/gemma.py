"""Gemma: 4 and FunctionGemma with ``call:name{key:value}``, 3 with Python in a fence."""

from __future__ import annotations

import re

from core.models.wire.calls import MAX_CALLS, dump
from core.models.wire.dialects.base import (
    NAME,
    Beginning,
    Dialect,
    Opener,
    Parse,
    Parsed,
    Tools,
    call,
    fenced,
    python_calls,
)
from core.models.wire.pieces import ToolCall
from core.models.wire.values import behind, read_prefix

HEAD = re.compile(rf"\s*+(?:call:)?+({NAME})\s*+(?=\{{)")
KEY = re.compile(r"([{,]\s*+)([A-Za-z_][\w-]{0,128}+)(\s*+:)")
FENCE = re.compile(
    rf"```(?:tool_code|tool_call|python)[^\S\n]*+\n\s*+(?:print\()?+\[?+\s*+({NAME})?+(\()?+"
)


def _written(quote: str) -> Parse:
    """``call:name{key:"value"}`` with the quote that the model has for texts."""

    def parse(text: str, tools: Tools) -> Parsed | None:
        # Every second part is a text; the rest becomes JSON when its keys have quotes.
        parts = text.split(quote)
        parts[0::2] = [KEY.sub(r'\1"\2"\3', part) for part in parts[0::2]]
        parts[1::2] = [dump(part) for part in parts[1::2]]
        text, at = "".join(parts), 0
        calls: list[ToolCall] = []
        while len(calls) <= MAX_CALLS and (head := HEAD.match(text, at)):
            decoded = read_prefix(text, head.end())
            found = call(head.group(1), decoded[0], tools) if decoded else None
            if decoded is None or found is None:
                return None
            calls.append(found)
            at = behind(re.compile(r"\s*+,?+"), text, decoded[1])
        return Parsed(tuple(calls), text[at:]) if calls else None

    return parse


def _is_call(text: str, tools: Tools) -> bool | None:
    match = FENCE.match(text)
    if match is None:
        return None if "```tool_code\n".startswith(text) else False
    name = match.group(1) or ""
    if match.group(2):
        return name in tools
    return None if match.end() == len(text) else False


def _fenced(text: str, tools: Tools) -> Parsed | None:
    inner = fenced(text)
    if inner is None:
        return None
    if inner.startswith("print(") and inner.endswith(")"):
        inner = inner[len("print(") : -1]
    return python_calls(inner, tools)


GEMMA = Dialect(
    "gemma",
    "Gemma 4, FunctionGemma; Gemma 3 (`tool_code` in a fence)",
    openers=(
        Opener("<|tool_call>", "<tool_call|>", _written('<|"|>')),
        Opener("<start_function_call>", "<end_function_call>", _written("<escape>")),
    ),
    beginnings=(Beginning(_is_call, _fenced),),
    thinking=(("<|channel>thought", "<channel|>"),),
    ends=("<end_of_turn>", "<turn|>", "<start_of_turn>", "<eos>", "<start_function_response>"),
    noise=("<|channel>final", "<|turn>model"),
)
