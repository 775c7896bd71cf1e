"""Messages in OpenAI's form → the body that this server accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from core.events import scrub
from core.models.servers.capabilities import Capabilities
from core.models.wire.calls import dump

Message = dict[str, Any]

NO_RESULT = "(no result: the call was interrupted)"
GO_ON = "Continue."


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


def normalise(messages: Sequence[Mapping[str, Any]], known: Capabilities) -> list[Message]:
    """One system message first, neighbours of one role merged, every tool call answered, no stray
    result.

    Where ``known`` says so: roles alternate strictly, the system message goes into the first user
    message, calls and results become text.
    """
    system: list[str] = []
    rest: list[Message] = []
    for message in messages:
        if message.get("role") in ("system", "developer"):
            system.append(flatten(message.get("content")))
        else:
            rest.append(_copy(message))
    if known.tools is False:
        rest = [_as_text(message) for message in rest]
    merged = _merge(_pair_calls(rest))
    if known.alternate_roles:
        merged = _alternate(merged)
    text = "\n\n".join(part for part in system if part)
    return _with_system(text, merged, fold=known.system_role is False)


def flatten(content: Any) -> str:
    """The text of a content string or list of parts."""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in cast("list[Any]", content) if isinstance(content, list) else []:
        text: Any = cast("dict[str, Any]", part).get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            texts.append(text)
    return "".join(texts)


def _copy(message: Mapping[str, Any]) -> Message:
    """Only the fields that every server knows; a list of mere text becomes text."""
    role: str = message.get("role") or "user"
    content: Any = message.get("content")
    if isinstance(content, list):
        parts = cast("list[Any]", content)
        if role != "user" or all(isinstance(p, dict) and "text" in p for p in parts):
            content = flatten(parts)
    copy: Message = {"role": role if role in ("assistant", "tool") else "user"}
    # Some templates fail on null, none on an empty text.
    copy["content"] = content if content is not None else ""
    if role == "assistant" and (calls := message.get("tool_calls")):
        copy["tool_calls"] = [_copy_call(call) for call in calls]
    if role == "tool":
        copy["tool_call_id"] = message.get("tool_call_id") or ""
    return copy


def _copy_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function: Mapping[str, Any] = call.get("function") or {}
    arguments: Any = function.get("arguments")
    return {
        "id": call.get("id") or "",
        "type": "function",
        "function": {
            "name": function.get("name") or "",
            "arguments": arguments if isinstance(arguments, str) else dump(arguments or {}),
        },
    }


def _as_text(message: Message) -> Message:
    """Calls and results in words, for a server without tools."""
    if message["role"] == "tool":
        return _stray_result(message)
    calls = message.get("tool_calls")
    if not calls:
        return message
    words = [f"[called {c['function']['name']}({c['function']['arguments']})]" for c in calls]
    return {"role": "assistant", "content": "\n".join(filter(None, [message["content"], *words]))}


def _stray_result(message: Message) -> Message:
    return {"role": "user", "content": f"[tool result] {flatten(message['content'])}"}


def _pair_calls(messages: list[Message]) -> list[Message]:
    """After each message with calls exactly one result per call, in the order of the calls."""
    paired: list[Message] = []
    at = 0
    while at < len(messages):
        message = messages[at]
        at += 1
        if message["role"] == "tool":
            paired.append(_stray_result(message))
            continue
        paired.append(message)
        if not message.get("tool_calls"):
            continue
        results: dict[str, Message] = {}
        strays: list[Message] = []
        wanted = {call["id"] for call in message["tool_calls"]}
        while at < len(messages) and messages[at]["role"] == "tool":
            result = messages[at]
            at += 1
            call_id = result["tool_call_id"]
            if call_id in wanted and call_id not in results:
                results[call_id] = result
            else:
                strays.append(_stray_result(result))
        for call in message["tool_calls"]:
            missing = {"role": "tool", "tool_call_id": call["id"], "content": NO_RESULT}
            paired.append(results.get(call["id"]) or missing)
        paired.extend(strays)
    return paired


def _merge(messages: list[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        joinable = last and last["role"] == message["role"] and message["role"] != "tool"
        if last is None or not joinable or last.get("tool_calls"):
            merged.append(message)
            continue
        joined = {**last, "content": _join(last["content"], message["content"])}
        if message.get("tool_calls"):
            joined["tool_calls"] = message["tool_calls"]
        merged[-1] = joined
    return merged


def _join(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}" if first and second else first or second
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return cast("list[Any]", content)


def _alternate(messages: list[Message]) -> list[Message]:
    """Gemma and Mistral templates: begin with the user, and answer tool results before the user
    speaks."""
    strict: list[Message] = []
    for message in messages:
        before = strict[-1]["role"] if strict else None
        if before is None and message["role"] == "assistant":
            strict.append({"role": "user", "content": GO_ON})
        if before == "tool" and message["role"] == "user":
            strict.append({"role": "assistant", "content": "…"})
        strict.append(message)
    return strict


def _with_system(text: str, messages: list[Message], *, fold: bool) -> list[Message]:
    has_user = any(message["role"] == "user" for message in messages)
    if text and not messages:
        # Templates and Ollama refuse a conversation without a user.
        return [{"role": "user", "content": text}]
    if not has_user:
        messages = [{"role": "user", "content": GO_ON}, *messages]
    if not text:
        return messages
    if not fold:
        return [{"role": "system", "content": text}, *messages]
    at = next(i for i, message in enumerate(messages) if message["role"] == "user")
    first = {**messages[at], "content": _join(text, messages[at]["content"])}
    return [*messages[:at], first, *messages[at + 1 :]]


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
