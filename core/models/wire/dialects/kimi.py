"""Kimi K2: sections of calls with ids such as ``functions.name:0``."""

from __future__ import annotations

import re

from core.models.wire.dialects.base import NAME, Dialect, Opener, Parsed, Tools, headed

BEGIN = "<|tool_call_begin|>"
HEAD = re.compile(
    rf"<\|tool_call_begin\|>\s*+(?:functions\.)?+({NAME})(?::\d{{1,9}}+)?+\s*+"
    r"<\|tool_call_argument_begin\|>"
)
parse = headed(HEAD)
"""All calls of a section."""


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
