"""Qwen-Coder, Step and Seed-OSS: ``<function=name><parameter=key>value``, bare or wrapped."""

from __future__ import annotations

import re

from core.models.wire.calls import MAX_CALLS, clean_name
from core.models.wire.dialects.base import Dialect, Opener, Parsed, Tools, call, typed
from core.models.wire.pieces import ToolCall

FUNCTION = re.compile(
    r"<function=([^>\s]{1,128}+)\s*+>(.*?)(?:</function>|(?=<function=)|\Z)", re.DOTALL
)
PARAMETER = re.compile(
    r"<parameter=([^>\s]{1,128}+)\s*+>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL
)


def functions(text: str, tools: Tools) -> Parsed | None:
    """All functions of a block; Llama writes JSON where others have parameters."""
    calls: list[ToolCall] = []
    for match in FUNCTION.finditer(text):
        name, body = clean_name(match.group(1)), match.group(2)
        schema = tools.get(name, {})
        arguments = {key: typed(value, schema.get(key)) for key, value in PARAMETER.findall(body)}
        found = call(name, arguments or body, tools)
        if found is None:
            return None
        calls.append(found)
        if len(calls) > MAX_CALLS:
            break
    return Parsed(tuple(calls)) if calls else None


def _unwrapped(text: str, tools: Tools) -> Parsed | None:
    return functions(f"<function={text}", tools)


QWEN_CODER = Dialect(
    "qwen-coder",
    "Qwen3-Coder, Qwen 3.5, Step 3.5, Nemotron 3, Seed-OSS; Llama 3 with JSON within the tag",
    openers=(
        Opener("<tool_call>", "</tool_call>", functions),
        Opener("<function=", "</function>", _unwrapped),
        Opener("<seed:tool_call>", "</seed:tool_call>", functions),
    ),
    ends=("<seed:eos>",),
)
