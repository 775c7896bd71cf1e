"""A conversation as the strictest known server takes it, whatever its turns have left behind.

Which server asks for which rule:

- OpenAI: names of ``[A-Za-z0-9_-]{1,64}``, arguments that are a JSON object, a result for each call
  right behind it and none else.
- Mistral: call ids of nine letters or digits, an assistant message that says or calls something, no
  user right behind a tool result, and the user or a tool last.
- Chat templates (llama.cpp, LM Studio): one system message first, then the user, roles in turn.
- Gemma's template: no roles but user and assistant (``Capabilities.alternate_roles``).

The same messages always become the same bytes, so that a server's prompt cache holds.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from core.models.servers.capabilities import Capabilities
from core.models.wire.calls import dump

Message = dict[str, Any]

NO_RESULT = "(no result: the call was interrupted)"
EMPTY_RESULT = "(empty)"
GO_ON = "Continue."
NO_ANSWER = "…"
"""Stands between tool results and what the user said when the turn had ended without an answer."""
NAMELESS = "unknown"
MAX_NAME = 64

CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")
SIGNS = string.ascii_letters + string.digits


def normalise(messages: Sequence[Mapping[str, Any]], known: Capabilities) -> list[Message]:
    """One system message first, then user and assistant in turn; every call answered, no stray
    result, ids and names that each server takes.

    Where ``known`` says so: the system message goes into the first user message, calls and results
    become text.
    """
    system: list[str] = []
    rest: list[Message] = []
    for message in messages:
        if message.get("role") in ("system", "developer"):
            system.append(flatten(message.get("content")))
        else:
            rest.append(_copy(message))
    paired = _pair_calls(rest)
    if known.tools is False or known.alternate_roles:
        paired = [_as_text(message) for message in paired]
    strict = _in_turn(_merge(_saying_something(paired)))
    text = "\n\n".join(part for part in system if part)
    return _with_system(text, strict, fold=known.system_role is False)


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


def call_id(known: str, taken: set[str]) -> str:
    """The id under which servers are sent a call: the one that it has, or always the same of nine
    signs for it, and another for a call whose id is taken."""
    name, number = known, 0
    while (fit := name if CALL_ID.fullmatch(name) else _nine(name)) in taken:
        number += 1
        name = f"{known}#{number}"
    taken.add(fit)
    return fit


def _nine(name: str) -> str:
    number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8])
    signs: list[str] = []
    for _ in range(9):
        number, sign = divmod(number, len(SIGNS))
        signs.append(SIGNS[sign])
    return "".join(signs)


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
        copy["tool_call_id"] = str(message.get("tool_call_id") or "")
    return copy


def _copy_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function: Mapping[str, Any] = call.get("function") or {}
    return {
        "id": str(call.get("id") or ""),
        "type": "function",
        "function": {
            "name": _name(function.get("name")),
            "arguments": _arguments(function.get("arguments")),
        },
    }


def _name(name: object) -> str:
    """A name that OpenAI takes: a model that made one up must not end the conversation."""
    return NO_NAME.sub("_", str(name or ""))[:MAX_NAME] or NAMELESS


def _arguments(arguments: Any) -> str:
    """JSON of an object: templates parse it, and fail at anything else."""
    if not isinstance(arguments, str):
        return dump(cast("dict[str, Any]", arguments)) if isinstance(arguments, dict) else "{}"
    try:
        return arguments if isinstance(orjson.loads(arguments), dict) else "{}"
    except orjson.JSONDecodeError:
        return "{}"


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
    """After each message with calls exactly one result per call, in the order of the calls, under
    ids that no other call has."""
    paired: list[Message] = []
    taken: set[str] = set()
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
        end = at
        while end < len(messages) and messages[end]["role"] == "tool":
            end += 1
        paired.extend(_answered(message["tool_calls"], messages[at:end], taken))
        at = end
    return paired


def _answered(calls: list[Message], found: list[Message], taken: set[str]) -> list[Message]:
    """The results of calls, in their order; the ones of no call come last, as words."""
    results: list[Message] = []
    for call in calls:
        own = next((r for r in found if r["tool_call_id"] == call["id"]), None)
        found = [r for r in found if r is not own]
        call["id"] = call_id(call["id"], taken)
        text = NO_RESULT if own is None else flatten(own["content"])
        text = text if text.strip() else EMPTY_RESULT
        results.append({"role": "tool", "tool_call_id": call["id"], "content": text})
    return [*results, *map(_stray_result, found)]


def _saying_something(messages: list[Message]) -> list[Message]:
    """Without messages of no content: they tell nothing, and servers refuse them."""
    return [m for m in messages if _says(m["content"]) or m.get("tool_calls")]


def _says(content: Any) -> bool:
    return bool(content.strip() if isinstance(content, str) else content)


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


def _in_turn(messages: list[Message]) -> list[Message]:
    """The user begins and ends; tool results are answered before the user speaks."""
    strict: list[Message] = []
    for message in messages:
        before = strict[-1]["role"] if strict else None
        if before is None and message["role"] != "user":
            strict.append({"role": "user", "content": GO_ON})
        if before == "tool" and message["role"] == "user":
            strict.append({"role": "assistant", "content": NO_ANSWER})
        strict.append(message)
    if strict and strict[-1]["role"] == "assistant":
        strict.append({"role": "user", "content": GO_ON})
    return strict


def _with_system(text: str, messages: list[Message], *, fold: bool) -> list[Message]:
    if not messages:
        # Templates and Ollama refuse a conversation without a user.
        return [{"role": "user", "content": text or GO_ON}]
    if not text:
        return messages
    if not fold:
        return [{"role": "system", "content": text}, *messages]
    first = {**messages[0], "content": _join(text, messages[0]["content"])}
    return [first, *messages[1:]]
