"""Llama 3: ``<|python_tag|>`` and JSON; Llama 4: Python calls; LFM: Python calls between tags."""

from __future__ import annotations

import re

from core.models.wire.dialects.base import (
    NAME,
    Beginning,
    Dialect,
    Opener,
    Parsed,
    Tools,
    first_of,
    json_calls,
    python_calls,
)

PYTHONIC = re.compile(rf"\[\s*+(?:({NAME})(\()?+)?+")


def _tagged(text: str, tools: Tools) -> Parsed | None:
    return first_of(json_calls, python_calls)(text.replace("<|python_tag|>", ""), tools)


def _is_call(text: str, tools: Tools) -> bool | None:
    match = PYTHONIC.match(text)
    if match is None:
        return False
    name = match.group(1) or ""
    if match.group(2):
        return name in tools
    possible = match.end() == len(text) and any(tool.startswith(name) for tool in tools)
    return None if possible else False


LLAMA = Dialect(
    "llama",
    "Llama 3.1 to 3.3 (`python_tag` and JSON), Llama 4 (the whole answer is `[name(key=value)]`)",
    openers=(
        Opener("<|python_tag|>", "", _tagged),
        Opener("<|python_start|>", "<|python_end|>", first_of(python_calls, json_calls)),
    ),
    beginnings=(Beginning(_is_call, python_calls),),
    ends=("<|eom_id|>", "<|eot_id|>", "<|eot|>", "<|eom|>", "<|end_of_text|>"),
    noise=("<|begin_of_text|>",),
)

LFM = Dialect(
    "lfm",
    "LFM2, LFM2.5",
    openers=(
        Opener("<|tool_call_start|>", "<|tool_call_end|>", first_of(python_calls, json_calls)),
    ),
)
