"""Qwen-Coder, Step and Seed-OSS: ``<function=name><parameter=key>value``, bare or wrapped."""

from __future__ import annotations

import re

from core.models.wire.calls import clean_name
from core.models.wire.dialects.base import Dialect, Opener, Parsed, Tools, call, gathered, typed
from core.models.wire.pieces import ToolCall

FUNCTION = re.compile(
    r"<function=([^>\s]{1,128}+)\s*+>(.*?)(?:</function>|(?=<function=)|\Z)", re.DOTALL
)
PARAMETER = re.compile(
    r"<parameter=([^>\s]{1,128}+)\s*+>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL
)


def functions(text: str, tools: Tools) -> Parsed | None:
    """All functions of a block; Llama writes JSON where others have parameters."""
    return gathered(_function(match, tools) for match in FUNCTION.finditer(text))


def _function(match: re.Match[str], tools: Tools) -> ToolCall | None:
    name, body = clean_name(match.group(1)), match.group(2)
    schema = tools.get(name, {})
    arguments = {key: typed(value, schema.get(key)) for key, value in PARAMETER.findall(body)}
    return call(name, arguments or body, tools)


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
