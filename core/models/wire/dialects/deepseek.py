"""DeepSeek: V3, R1 and V3.1 with their own tokens, V3.2 and later with DSML tags."""

from __future__ import annotations

import re

from core.models.wire.dialects.base import NAME, Dialect, Opener, Parsed, Tools, headed, invocations

BEGIN = "<｜tool▁call▁begin｜>"
HEAD = re.compile(
    rf"{BEGIN}\s*+(?:function<｜tool▁sep｜>)?+({NAME})\s*+(?:<｜tool▁sep｜>)?+\s*+"
    r"(?:```(?:json)?+)?+\s*+(?=\{)"
)
DSML = invocations("｜DSML｜")
parse = headed(HEAD)
"""All calls of a block of V3, R1 or V3.1."""


def _alone(text: str, tools: Tools) -> Parsed | None:
    return parse(BEGIN + text, tools)


DEEPSEEK = Dialect(
    "deepseek",
    "DeepSeek V3, R1, V3.1, V3.2",
    openers=(
        Opener("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", parse),
        Opener(BEGIN, "<｜tool▁call▁end｜>", _alone),
        Opener("<｜DSML｜function_calls>", "</｜DSML｜function_calls>", DSML),
        Opener("<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>", DSML),
    ),
    ends=("<｜end▁of▁sentence｜>", "<｜User｜>"),
    noise=("<｜Assistant｜>", "<｜begin▁of▁sentence｜>"),
)
