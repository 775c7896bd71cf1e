"""Kimi K2: sections of calls with ids such as ``functions.name:0``."""

from __future__ import annotations

import re

from core.models.wire.calls import MAX_CALLS
from core.models.wire.dialects.base import NAME, Dialect, Opener, Parsed, Tools, call
from core.models.wire.pieces import ToolCall
from core.models.wire.values import read_prefix

BEGIN = "<|tool_call_begin|>"
HEAD = re.compile(
    rf"<\|tool_call_begin\|>\s*+(?:functions\.)?+({NAME})(?::\d{{1,9}}+)?+\s*+"
    r"<\|tool_call_argument_begin\|>"
)


def parse(text: str, tools: Tools) -> Parsed | None:
    """All calls of a section."""
    calls: list[ToolCall] = []
    for match in HEAD.finditer(text):
        decoded = read_prefix(text, match.end())
        found = call(match.group(1), decoded[0], tools) if decoded else None
        if found is None:
            return None
        calls.append(found)
        if len(calls) > MAX_CALLS:
            break
    return Parsed(tuple(calls)) if calls else None


def _alone(text: str, tools: Tools) -> Parsed | None:
    return parse(BEGIN + text, tools)


KIMI = Dialect(
    "kimi",
    "Kimi K2, K2-Thinking, K2.5",
    openers=(
        Opener("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", parse),
        Opener(BEGIN, "<|tool_call_end|>", _alone),
    ),
    thinking=(("◁think▷", "◁/think▷"),),
    ends=("[EOS]", "<|im_user|>"),
    noise=("<|im_middle|>", "<|im_assistant|>"),
)
