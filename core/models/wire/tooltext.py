"""Finds tool calls that a model wrote as text, in the formats that models are trained on."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from core.models.wire.calls import MAX_CALLS, clean_name, new_call_id, read_arguments
from core.models.wire.pieces import ToolCall
from core.models.wire.values import MAX_LITERAL, behind, read_literal, read_prefix, read_value

Tools: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Name of each bound tool → the properties of its JSON schema."""

# No pattern here looks at a character more than a fixed number of times: names are bounded, runs
# are possessive, and what has no end reaches to the end of the text.
FUNCTION = re.compile(r"<function=([^>\s]{1,128}+)\s*+>(.*?)(?:</function>|\Z)", re.DOTALL)
PARAMETER = re.compile(
    r"<parameter=([^>\s]{1,128}+)\s*+>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL
)
MISTRAL_NAMED = re.compile(
    r"\s*+([\w.-]{1,128}+)\s*+(?:\[CALL_ID\][\w-]*+\s*+)?+(?:\[ARGS\]\s*+)?+(?=\{)"
)
BETWEEN = re.compile(r"\s*+(?:\[TOOL_CALLS\])?+")
NEXT_OBJECT = re.compile(r"\s*+(?=[{\[])")
SEMICOLON = re.compile(r"\s*+;?+(?:<\|python_tag\|>)?+")
BLOCK = re.compile(r"<tool_call>.*?(?:</tool_call>|\Z)|<function=.*?(?:</function>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The calls of a block of text, and what of it was no call."""

    calls: tuple[ToolCall, ...]
    rest: str = ""


def parse_block(block: str, tools: Tools) -> Parsed | None:
    """Read a held-back block that begins with one of the openers; None: it is ordinary text."""
    for opener, parse in PARSERS:
        if block.startswith(opener):
            found = parse(block[len(opener) :] if opener != "<function=" else block, tools)
            return found if found and found.calls else None
    return parse_pythonic(block, tools)


def parse_reasoning(text: str, tools: Tools) -> tuple[ToolCall, ...]:
    """Calls that a model wrote into its thinking instead of its answer (whole tagged blocks
    only)."""
    calls: list[ToolCall] = []
    for match in BLOCK.finditer(text):
        found = parse_block(match.group(), tools)
        if found is not None:
            calls.extend(found.calls)
        if len(calls) > MAX_CALLS:
            break
    return tuple(calls)


def _tagged(text: str, tools: Tools) -> Parsed | None:
    """Hermes: JSON within <tool_call>; Qwen-coder: XML within <tool_call>."""
    inner, _, rest = text.partition("</tool_call>")
    if "<function=" in inner:
        found = _function(inner, tools)
        return Parsed(found.calls, rest) if found else None
    decoded = read_prefix(inner)
    if decoded is None or inner[decoded[1] :].strip():
        return None
    return Parsed(_from_json(decoded[0], tools), rest)


def _function(text: str, tools: Tools) -> Parsed | None:
    calls: list[ToolCall] = []
    end = 0
    for match in FUNCTION.finditer(text):
        name = clean_name(match.group(1))
        if name not in tools:
            return None
        arguments: dict[str, Any] = {
            key: _value(value, tools[name].get(key))
            for key, value in PARAMETER.findall(match.group(2))
        }
        if not arguments and match.group(2).strip():
            decoded = read_arguments(match.group(2))
            if decoded is None:
                return None
            arguments = decoded
        calls.append(ToolCall(new_call_id(), name, arguments))
        end = match.end()
        if len(calls) > MAX_CALLS:
            break
    return Parsed(tuple(calls), text[end:].removeprefix("\n</tool_call>")) if calls else None


def _value(text: str, schema: Any) -> Any:
    """A parameter of the XML form carries no type of its own, so the tool's schema says how to read
    it."""
    kind: Any = cast("dict[str, Any]", schema).get("type") if isinstance(schema, dict) else None
    if kind == "string" or (kind is None and text[:1] not in ("[", "{")):
        return text
    try:
        return read_value(text)
    except ValueError:
        return text


def _mistral(text: str, tools: Tools) -> Parsed | None:
    """``[TOOL_CALLS][{…}]`` or, repeated, ``[TOOL_CALLS]name[ARGS]{…}``."""
    if NEXT_OBJECT.match(text):
        decoded = read_prefix(text)
        return Parsed(_from_json(decoded[0], tools), text[decoded[1] :]) if decoded else None
    calls: list[ToolCall] = []
    at = 0
    while len(calls) <= MAX_CALLS and (match := MISTRAL_NAMED.match(text, at)):
        decoded = read_prefix(text, match.end())
        name = clean_name(match.group(1))
        if decoded is None or name not in tools or not isinstance(decoded[0], dict):
            return None
        calls.append(ToolCall(new_call_id(), name, cast("dict[str, Any]", decoded[0])))
        at = behind(BETWEEN, text, decoded[1])
    return Parsed(tuple(calls), text[at:])


def _python_tag(text: str, tools: Tools) -> Parsed | None:
    """Llama: one or several JSON objects, split by semicolons."""
    calls: list[ToolCall] = []
    at = 0
    while len(calls) <= MAX_CALLS and NEXT_OBJECT.match(text, at):
        decoded = read_prefix(text, at)
        if decoded is None:
            return None
        some = _from_json(decoded[0], tools)
        if not some:
            return None
        calls.extend(some)
        at = behind(SEMICOLON, text, decoded[1])
    return Parsed(tuple(calls), text[at:].replace("<|eom_id|>", ""))


def parse_pythonic(text: str, tools: Tools) -> Parsed | None:
    """Llama 4: the whole answer is ``[name(key="value"), …]`` with literal values."""
    if len(text) > MAX_LITERAL:
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(tree, ast.List) or not tree.elts:
        return None
    calls = [_python_call(node, tools) for node in tree.elts[: MAX_CALLS + 1]]
    whole = tuple(call for call in calls if call is not None)
    return Parsed(whole) if len(whole) == len(calls) else None


def _python_call(node: ast.expr, tools: Tools) -> ToolCall | None:
    if not isinstance(node, ast.Call) or node.args:
        return None
    name = ast.unparse(node.func)
    if name not in tools:
        return None
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        try:
            value = read_literal(keyword.value)
        except ValueError:
            return None
        if keyword.arg is None:
            return None
        arguments[keyword.arg] = value
    return ToolCall(new_call_id(), name, arguments)


def _from_json(value: Any, tools: Tools) -> tuple[ToolCall, ...]:
    """Calls from one object or a list of objects; one that is no call of a known tool spoils
    all."""
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    calls: list[ToolCall] = []
    for item in items[: MAX_CALLS + 1]:
        fields = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
        name = clean_name(str(fields.get("name") or ""))
        arguments: Any = fields.get("arguments", fields.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = read_arguments(arguments)
        if name not in tools or not isinstance(arguments, dict):
            return ()
        calls.append(ToolCall(new_call_id(), name, cast("dict[str, Any]", arguments)))
    return tuple(calls)


PARSERS: tuple[tuple[str, Callable[[str, Tools], Parsed | None]], ...] = (
    ("<tool_call>", _tagged),
    ("<function=", _function),
    ("[TOOL_CALLS]", _mistral),
    ("<|python_tag|>", _python_tag),
)


def known_tools(tools: Sequence[Mapping[str, Any]] | None) -> Tools:
    """Names and properties of tools in OpenAI's form."""
    known: dict[str, Mapping[str, Any]] = {}
    for tool in tools or ():
        function: Mapping[str, Any] = tool.get("function") or tool
        parameters: Mapping[str, Any] = function.get("parameters") or {}
        known[str(function.get("name"))] = parameters.get("properties") or {}
    return known
