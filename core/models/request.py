"""Messages in OpenAI's form → the body that this server accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from core.events import scrub
from core.models.history import normalise
from core.models.servers.capabilities import Capabilities


@dataclass(frozen=True, slots=True)
class Options:
    """The parameters of one request; ``tool_choice`` is auto, none, required, or the name of a
    tool."""

    model: str
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    extra: Mapping[str, Any] | None = None


def build(
    messages: Sequence[Mapping[str, Any]], options: Options, known: Capabilities
) -> dict[str, Any]:
    """The request body. Leaves out what the server refuses and what it is not known to accept."""
    body: dict[str, Any] = {
        "model": options.model,
        "messages": normalise(messages, known),
        "stream": known.streaming is not False,
    }
    body.update(_tool_fields(options, known))
    if options.max_tokens is not None:
        body["max_tokens"] = options.max_tokens
    if options.temperature is not None:
        body["temperature"] = options.temperature
    if known.stream_usage and body["stream"]:
        body["stream_options"] = {"include_usage": True}
    if options.extra:
        body.update(options.extra)
    for name in known.refused_parameters:
        body.pop(name, None)
    return body


def encode(body: Mapping[str, Any]) -> bytes:
    """JSON bytes; what UTF-8 or JSON cannot hold is replaced, because a request must never fail for
    it."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        return orjson.dumps(_clean(body), default=str, option=orjson.OPT_NON_STR_KEYS)


def _tool_fields(options: Options, known: Capabilities) -> dict[str, Any]:
    """Only strings are sent as ``tool_choice``: LM Studio refuses the object that names one tool,
    so a named tool is sent as the only one."""
    choice, tools = options.tool_choice, list(options.tools or ())
    if not tools or known.tools is False or choice == "none":
        return {}
    if choice in (None, "auto"):
        return {"tools": tools}
    if choice not in ("required", "any"):
        tools = [tool for tool in tools if _name(tool) == choice] or tools
    return {"tools": tools, "tool_choice": "required"}


def _name(tool: Mapping[str, Any]) -> str:
    function: Mapping[str, Any] = tool.get("function") or tool
    return str(function.get("name"))


def _clean(value: Any) -> Any:
    """Lone surrogates become U+FFFD, integers of more than 64 bits become text."""
    match value:
        case str():
            return scrub(value)
        case dict():
            items = cast("dict[Any, Any]", value).items()
            return {scrub(str(key)): _clean(item) for key, item in items}
        case list() | tuple():
            return [_clean(item) for item in cast("list[Any]", value)]
        case int() if not isinstance(value, bool) and abs(value) >= 2**63:
            return str(value)
        case _:
            return value
