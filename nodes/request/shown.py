"""What clients are shown of the answer under way, told again from the messages it consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from core.events import (
    MessageCompleted,
    TextDelta,
    ToolStarted,
    Usage,
)
from nodes.request.results import finished
from nodes.state import Emit

BETWEEN = "\n\n"
"""Stands between what was said before a tool call and after it."""


def answer_id(run_id: str) -> str:
    """Id of the answer to a message; the same for each attempt."""
    return "a_" + run_id.rpartition(".")[2]


def show(messages: Sequence[AnyMessage], run_id: str, emit: Emit) -> None:
    """Emit text, tool calls and completed answers of a turn, as they were emitted at first."""
    results = {m.tool_call_id: m for m in messages if isinstance(m, ToolMessage)}
    text = ""
    for message in messages:
        if isinstance(message, HumanMessage):
            text = ""
        if not isinstance(message, AIMessage):
            continue
        if message.text:
            piece = (BETWEEN if text else "") + message.text
            emit(TextDelta(piece))
            text += piece
        for call in message.tool_calls:
            if (result := results.get(str(call["id"]))) is not None:
                emit(ToolStarted(str(call["id"]), call["name"], call["args"]))
                emit(finished(result))
        if not message.tool_calls:
            emit(_completed(message, run_id, text))


def about(model: str, usage: Usage) -> dict[str, Any]:
    """What the checkpoint keeps beside a final answer, so that its event can be repeated."""
    return {"m": model, "u": [usage.prompt_tokens, usage.completion_tokens, usage.estimated]}


def _completed(message: AIMessage, run_id: str, text: str) -> MessageCompleted:
    prompt, completion, estimated = message.response_metadata.get("u", (0, 0, True))
    usage = Usage(prompt, completion, estimated)
    return MessageCompleted(answer_id(run_id), text, usage, message.response_metadata.get("m", ""))
