"""The tools that were offered, as the readers of an answer need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from core.models.wire.dialects.base import Tools
from core.models.wire.pieces import ToolCall


def known_tools(tools: Sequence[Mapping[str, Any]] | None) -> Tools:
    """Names and properties of tools in OpenAI's form."""
    known: dict[str, Mapping[str, Any]] = {}
    for tool in tools or ():
        function: Mapping[str, Any] = tool.get("function") or tool
        parameters: Mapping[str, Any] = function.get("parameters") or {}
        known[str(function.get("name"))] = parameters.get("properties") or {}
    return known


def fitted(call: ToolCall, tools: Tools) -> ToolCall:
    """The call with harmless slips of small models put right: null where the tool knows no null
    means that the argument is not given, and a number is taken for a text."""
    schema = tools.get(call.name)
    if not schema:
        return call
    arguments: dict[str, Any] = {}
    for key, value in call.arguments.items():
        kinds = _kinds(schema.get(key))
        if value is None and kinds and "null" not in kinds:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        arguments[key] = str(value) if number and kinds == {"string"} else value
    return replace(call, arguments=arguments)


def _kinds(schema: object) -> set[str]:
    """The types that a property may have; empty: it does not say."""
    if not isinstance(schema, dict):
        return set()
    fields = cast("dict[str, Any]", schema)
    named: Any = fields.get("type")
    if isinstance(named, str):
        return {named}
    choices: list[Any] = cast("list[Any]", named) if isinstance(named, list) else []
    kinds = {each for each in choices if isinstance(each, str)}
    for each in fields.get("anyOf") or ():
        inner = _kinds(each)
        if not inner:
            return set()
        kinds |= inner
    return kinds
