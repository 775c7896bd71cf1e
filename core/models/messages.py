"""LangChain messages in OpenAI's form. Apart from the chat model, which workers need not load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from core.models.history import flatten
from core.models.wire.calls import dump


def to_openai(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """LangChain messages in OpenAI's form; thinking is not sent back."""
    return [_openai(message) for message in messages]


def _openai(message: BaseMessage) -> dict[str, Any]:
    content: Any = message.content
    match message:
        case AIMessage():
            converted: dict[str, Any] = {"role": "assistant", "content": flatten(content)}
            calls = [_call(call["id"], call["name"], call["args"]) for call in message.tool_calls]
            # The broken text would break templates that parse it; the tool message tells the model.
            calls += [_call(bad["id"], bad["name"], {}) for bad in message.invalid_tool_calls]
            if calls:
                converted["tool_calls"] = calls
            return converted
        case ToolMessage():
            return {
                "role": "tool",
                "tool_call_id": message.tool_call_id,
                "content": flatten(content),
            }
        case SystemMessage():
            return {"role": "system", "content": flatten(content)}
        case HumanMessage():
            return {"role": "user", "content": _user_content(content)}
        case ChatMessage():
            return {"role": message.role, "content": flatten(content)}
        case _:
            return {"role": "user", "content": flatten(content)}


def _call(call_id: str | None, name: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": call_id or "",
        "type": "function",
        "function": {"name": name or "", "arguments": dump(arguments)},
    }


def _user_content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [_part(part) for part in cast("list[Any]", content)]


def _part(part: Any) -> Any:
    """LangChain's image blocks in OpenAI's form; everything else as it is."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    block = cast("dict[str, Any]", part)
    if block.get("type") != "image":
        return block
    url = block.get("url") or f"data:{block.get('mime_type')};base64,{block.get('base64')}"
    return {"type": "image_url", "image_url": {"url": url}}
