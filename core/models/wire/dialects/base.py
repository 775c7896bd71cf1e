"""What a dialect is, and what the files of this folder are made of.

No pattern of a dialect may look at a character more than a fixed number of times: names are bounded
(``NAME``), runs possessive (``\\s*+``), and what has no end reaches to the end of the text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from core.models.wire.calls import MAX_CALLS, clean_name, invalid_call, new_call_id, read_arguments
from core.models.wire.pieces import InvalidCall, ToolCall
from core.models.wire.values import MAX_LITERAL, behind, read_literal, read_prefix, read_value

Tools: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Name of each bound tool → the properties of its JSON schema."""

NAME = r"[\w.-]{1,128}+"
NEXT_OBJECT = re.compile(r"\s*+(?=[{\[])")
BETWEEN = re.compile(r"\s*+[;,]?+\s*+")
TOO_MANY_BRACES = re.compile(r"[\s}\]]*+")


@dataclass(frozen=True, slots=True)
class Parsed:
    """The calls of a block of text, and what of it was no call."""

    calls: tuple[ToolCall, ...] = ()
    rest: str = ""
    invalid: tuple[InvalidCall, ...] = ()


Parse: TypeAlias = Callable[[str, Tools], Parsed | None]
"""Reads a whole block. None, or no call at all: this dialect cannot read it."""


@dataclass(frozen=True, slots=True)
class Opener:
    """``word`` begins a call, ``closer`` ends it (empty: the end of the answer does). ``parse``
    gets what stands between the two."""

    word: str
    closer: str
    parse: Parse


@dataclass(frozen=True, slots=True)
class Beginning:
    """Calls without any mark of their own, which are a whole answer: ``is_call`` looks at how the
    answer begins (None: too early to say), ``parse`` gets the whole answer."""

    is_call: Callable[[str, Tools], bool | None]
    parse: Parse


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a family of models writes. ``thinking``: pairs of words around it, besides tags with
    "think" in their name; ``ends``: tokens that end the answer; ``noise``: tokens that are left
    out."""

    name: str
    models: str
    openers: tuple[Opener, ...] = ()
    beginnings: tuple[Beginning, ...] = ()
    thinking: tuple[tuple[str, str], ...] = ()
    ends: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()


def call(name: str, arguments: Any, tools: Tools) -> ToolCall | None:
    """A call of a bound tool; None: it is none."""
    name = clean_name(name)
    if isinstance(arguments, str):
        arguments = read_arguments(arguments)
    if name not in tools or not isinstance(arguments, dict):
        return None
    return ToolCall(new_call_id(), name, cast("dict[str, Any]", arguments))


def json_calls(text: str, tools: Tools) -> Parsed | None:
    """One or several JSON objects or lists of them, commas or semicolons between them or not."""
    calls: list[ToolCall] = []
    at = 0
    while len(calls) <= MAX_CALLS and NEXT_OBJECT.match(text, at):
        decoded = read_prefix(text, at)
        some = calls_of(decoded[0], tools) if decoded else ()
        if decoded is None or not some:
            return None
        calls.extend(some)
        at = behind(BETWEEN, text, decoded[1])
    # Small models write a bracket too many.
    return Parsed(tuple(calls), text[behind(TOO_MANY_BRACES, text, at) :]) if calls else None


def only(parse: Parse) -> Parse:
    """The same, but nothing else may stand in the block."""

    def whole(text: str, tools: Tools) -> Parsed | None:
        found = parse(text, tools)
        return found if found is not None and not found.rest.strip() else None

    return whole


def first_of(*parsers: Parse) -> Parse:
    """What the first of them that can read the block makes of it."""

    def any_of(text: str, tools: Tools) -> Parsed | None:
        for parse in parsers:
            found = parse(text, tools)
            if found is not None and found.calls:
                return found
        return None

    return any_of


def calls_of(value: Any, tools: Tools) -> tuple[ToolCall, ...]:
    """Calls from one object or a list of objects; one that is no call of a known tool spoils
    all."""
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    calls: list[ToolCall] = []
    for item in items[: MAX_CALLS + 1]:
        if not isinstance(item, dict):
            return ()
        fields = cast("dict[str, Any]", item)
        inner: Any = fields.get("tool_calls")
        if isinstance(inner, list):
            calls.extend(calls_of(inner, tools))
            continue
        found = _call_of(fields, tools)
        if found is None:
            return ()
        calls.append(found)
    return tuple(calls)


NAMES = ("name", "tool_name", "tool", "function", "recipient_name", "action")
ARGUMENTS = ("arguments", "parameters", "args", "input", "tool_input", "action_input", "kwargs")
WRAPPERS = ("function", "function_call", "tool_call")


def _call_of(fields: dict[str, Any], tools: Tools) -> ToolCall | None:
    for wrapper in WRAPPERS:
        wrapped = fields.get(wrapper)
        if isinstance(wrapped, dict):
            return _call_of(cast("dict[str, Any]", wrapped), tools)
    if len(fields) == 1:
        # Apertus: {"name": {…}}.
        (name, arguments) = next(iter(fields.items()))
        if name in tools and isinstance(arguments, dict):
            return call(name, arguments, tools)
    name = next((fields[key] for key in NAMES if isinstance(fields.get(key), str)), "")
    arguments: Any = next((fields[key] for key in ARGUMENTS if key in fields), None)
    return call(str(name), {} if arguments is None else arguments, tools)


def python_calls(text: str, tools: Tools) -> Parsed | None:
    """``[name(key="value"), …]`` or ``name(key="value")`` with literal values."""
    if len(text) > MAX_LITERAL:
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    nodes = tree.elts if isinstance(tree, ast.List) else [tree]
    calls = [_python_call(node, tools) for node in nodes[: MAX_CALLS + 1]]
    whole = tuple(found for found in calls if found is not None)
    return Parsed(whole) if whole and len(whole) == len(calls) else None


def _python_call(node: ast.expr, tools: Tools) -> ToolCall | None:
    if not isinstance(node, ast.Call) or node.args:
        return None
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            return None
        try:
            arguments[keyword.arg] = read_literal(keyword.value)
        except ValueError:
            return None
    return call(ast.unparse(node.func), arguments, tools)


def fenced(text: str) -> str | None:
    """What stands in a code fence that is all of the text."""
    head, line, inner = text.strip().partition("\n")
    inner = inner.rstrip()
    if not line or not head.startswith("```") or not inner.endswith("```"):
        return None
    return inner.removesuffix("```").strip()


def typed(text: str, schema: Any) -> Any:
    """A value that was written without a type of its own: the tool's schema says how to read it."""
    kind: Any = cast("dict[str, Any]", schema).get("type") if isinstance(schema, dict) else None
    if kind == "string" or (kind is None and text[:1] not in ("[", "{")):
        return text
    try:
        return read_value(text)
    except ValueError:
        return text


def invocations(mark: str = "") -> Parse:
    """``<invoke name="tool"><parameter name="key">value</parameter></invoke>``, each tag with the
    mark."""
    tag = re.escape(mark)
    invoke = re.compile(
        rf'<{tag}invoke\s++name="?({NAME})"?\s*+>(.*?)(?:</{tag}invoke>|(?=<{tag}invoke\s)|\Z)',
        re.DOTALL,
    )
    parameter = re.compile(
        rf'<{tag}parameter\s++name="?({NAME})"?[^>]{{0,64}}+>\n?(.*?)\n?'
        rf"(?:</{tag}parameter>|(?=<{tag}parameter\s)|\Z)",
        re.DOTALL,
    )

    def read(match: re.Match[str], tools: Tools) -> ToolCall | None:
        schema = tools.get(clean_name(match.group(1)), {})
        arguments = {
            key: typed(value, schema.get(key)) for key, value in parameter.findall(match.group(2))
        }
        return call(match.group(1), arguments or match.group(2), tools)

    return lambda text, tools: gathered(read(match, tools) for match in invoke.finditer(text))


def headed(head: re.Pattern[str]) -> Parse:
    """A head with the name, then the arguments as an object, any number of times."""

    def read(text: str, match: re.Match[str], tools: Tools) -> ToolCall | None:
        decoded = read_prefix(text, match.end())
        return call(match.group(1), decoded[0], tools) if decoded else None

    return lambda text, tools: gathered(read(text, match, tools) for match in head.finditer(text))


def gathered(found: Iterable[ToolCall | None]) -> Parsed | None:
    """The calls of a block in their order, not many more than an answer may have; None where one
    cannot be read, or there is none."""
    calls: list[ToolCall] = []
    for one in found:
        if one is None:
            return None
        calls.append(one)
        if len(calls) > MAX_CALLS:
            break
    return Parsed(tuple(calls)) if calls else None


def nearly(block: str, tools: Tools) -> Parsed | None:
    """A block that begins as a call and that nobody could read: the model is told, if it meant a
    bound tool."""
    for name in tools:
        if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", block):
            why = (
                f"The call of {name} was written in a form that cannot be read; nothing was run. "
                "Call the tool again, with complete JSON."
            )
            return Parsed(invalid=(invalid_call(name, block, why),))
    return None
