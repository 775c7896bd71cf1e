"""No dialect at all: the whole answer is the JSON of a call of a bound tool, bare or in a fence."""

from __future__ import annotations

import re

from core.models.wire.dialects.base import Beginning, Dialect, Parsed, Tools, fenced, json_calls

HEAD = re.compile(
    r"(?:\[\s*+)?+\{\s*+"
    r'(?:"([\w-]{0,32}+)(?:(")\s*+(?::\s*+(?:"([^"]{0,128}+)(")?+)?+)?+)?+)?+'
)
# An object without arguments is data that happens to have the name of a tool in it.
ARGUMENTS = re.compile(r'"(?:arguments|parameters|args|input|tool_input|action_input|kwargs)"\s*+:')
FENCE = re.compile(r"```(?:json|tool_call|tool|\w{0,10}+)?+[^\S\n]*+\n\s*+")
FENCE_BEGUN = re.compile(r"`{1,3}+\w{0,12}+\s*+\Z")
NAME_KEYS = ("name", "function", "tool", "tool_name", "action", "recipient_name")
TYPE_KEY = "type"
OTHER_KEYS = ("arguments", "parameters", "tool_calls", "tool_call", "function_call")


def is_call(text: str, tools: Tools) -> bool | None:
    """Whether an object begins that names a bound tool."""
    match = HEAD.match(text)
    if match is None:
        return None if text == "[" else False
    key, key_ended, value, value_ended = match.groups()
    at_end = match.end() == len(text)
    if not key_ended:
        keys = (*NAME_KEYS, *OTHER_KEYS, TYPE_KEY)
        return None if at_end and any(each.startswith(key or "") for each in keys) else False
    if key in OTHER_KEYS:
        return True
    if key not in NAME_KEYS and key != TYPE_KEY:
        return False
    if value is None:
        # A wrapper of its own: {"function": {"name": …}}.
        return None if at_end else key == "function" and text[match.end()] == "{"
    value = value.removeprefix("functions.")
    names = ("function", *tools) if key == TYPE_KEY else tuple(tools)
    if value_ended:
        return value in names
    return (
        None if at_end and any(each.startswith(value) for each in ("functions.", *names)) else False
    )


def _fence_is_call(text: str, tools: Tools) -> bool | None:
    fence = FENCE.match(text)
    if fence is None:
        return None if FENCE_BEGUN.match(text) else False
    rest = text[fence.end() :]
    return is_call(rest, tools) if rest else None


def _fenced(text: str, tools: Tools) -> Parsed | None:
    inner = fenced(text)
    return _bare(inner, tools) if inner is not None else None


def _bare(text: str, tools: Tools) -> Parsed | None:
    return json_calls(text, tools) if ARGUMENTS.search(text) else None


BARE = Dialect(
    "bare JSON",
    "any model: the whole answer is one call in JSON, also in a code fence",
    beginnings=(Beginning(is_call, _bare), Beginning(_fence_is_call, _fenced)),
)
