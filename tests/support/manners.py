"""What strict model servers refuse in a request, each in its own manner: written from their
documentation and their chat templates, not from our code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

Messages = Sequence[dict[str, Any]]


def openai(body: dict[str, Any]) -> str:
    """OpenAI, and servers that copy its checks."""
    messages: Messages = body["messages"]
    waiting: list[str] = []
    for message in messages:
        role, content = message["role"], message.get("content")
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                return "messages with role 'tool' must be a response to a preceding message"
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            return f"tool_call_ids did not have response messages: {waiting}"
        if content is None and not message.get("tool_calls"):
            return "invalid value for 'content': expected a string, got null"
        calls: list[dict[str, Any]] = message.get("tool_calls") or []
        if "tool_calls" in message and not calls:
            return "[] is too short - 'tool_calls'"
        wrong = [why for call in calls if (why := _wrong_call(call))]
        if wrong:
            return wrong[0]
        waiting = [call["id"] for call in calls]
        if len(set(waiting)) != len(waiting):
            return "duplicate tool_call_id"
    return f"tool_call_ids did not have response messages: {waiting}" if waiting else ""


def _wrong_call(call: dict[str, Any]) -> str:
    function = call["function"]
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", function["name"]):
        return "'name' does not match ^[a-zA-Z0-9_-]+$"
    return "" if _is_object(function["arguments"]) else "arguments are no JSON object"


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


FOLLOWS = {
    "system": ("user", "assistant", "system"),
    "user": ("assistant", "system", "user"),
    "assistant": ("assistant", "user", "tool"),
    "tool": ("assistant", "tool"),
}


def mistral(body: dict[str, Any]) -> str:
    """Mistral's service, and servers with its own tokenizer."""
    messages: Messages = body["messages"]
    ids: list[str] = []
    before = "system"
    for message in messages:
        role = message["role"]
        if role not in FOLLOWS[before]:
            return f"Unexpected role '{role}' after role '{before}'"
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            return "Assistant message must have either content or tool_calls, but not none."
        ids += [call["id"] for call in message.get("tool_calls", ())]
        before = role
    if wrong := [name for name in ids if not re.fullmatch(r"[a-zA-Z0-9]{9}", name)]:
        return f"Tool call id was {wrong[0]} but must be a-z, A-Z, 0-9, with a length of 9."
    if len(set(ids)) != len(ids):
        return "Duplicate tool call id"
    if before not in ("user", "tool"):
        return f"Expected last role User or Tool (or Assistant with prefix True) but got {before}"
    return openai(body)


def llamacpp(body: dict[str, Any]) -> str:
    """llama.cpp and LM Studio with the template of a Qwen or Mistral model: one system message
    first, a user's question, roles in turn, arguments that can be parsed."""
    messages: Messages = body["messages"]
    if any(message["role"] == "system" for message in messages[1:]):
        return "System message must be at the beginning."
    if not any(message["role"] == "user" for message in messages):
        return "No user query found in messages."
    turns = [m for m in messages if m["role"] in ("user", "assistant") and not m.get("tool_calls")]
    if any((m["role"] == "user") != (n % 2 == 0) for n, m in enumerate(turns)):
        return "After the optional system message, conversation roles must alternate"
    calls = [call for m in messages for call in m.get("tool_calls", ())]
    if not all(_is_object(call["function"]["arguments"]) for call in calls):
        return "Failed to parse tool call arguments as JSON"
    if any(not isinstance(m.get("content"), str | list) for m in messages):
        return "Value is not callable: null"
    return ""


def gemma(body: dict[str, Any]) -> str:
    """Gemma's template: user and assistant in turn, and no other roles."""
    messages: Messages = body["messages"]
    if any(message["role"] == "system" for message in messages):
        return "System role not supported"
    for number, message in enumerate(messages):
        if (message["role"] == "user") != (number % 2 == 0) or message.get("tool_calls"):
            return "Conversation roles must alternate user/assistant/user/assistant/..."
    return ""


MANNERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "openai": openai,
    "mistral": mistral,
    "llamacpp": llamacpp,
    "gemma": gemma,
}
"""Name of a manner → why it refuses a body; empty: it takes it."""
