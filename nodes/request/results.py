"""The result of a call: as the conversation holds it, and as those who follow the turn see it."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.messages import ToolMessage

from core.events import ToolFinished, ToolStatus
from nodes.state import OUTCOME

MAX_SUMMARY = 400
"""Characters of a result that users see."""


def result(call: dict[str, Any], status: ToolStatus, text: str, **marks: bool) -> ToolMessage:
    """What the model is told of a call; ``marks`` are kept beside it."""
    more: dict[str, Any] = {} if status in ("ok", "error") else {OUTCOME: status}
    return ToolMessage(
        text,
        tool_call_id=call["id"],
        name=call["name"],
        status="success" if status == "ok" else "error",
        id=f"{call['id']}-r",
        additional_kwargs={**more, **marks},
    )


def finished(message: ToolMessage) -> ToolFinished:
    """The event of a result: made of the result itself, so that a resumed turn tells the same."""
    return ToolFinished(
        message.tool_call_id, _status(message), shortened(message.text, MAX_SUMMARY)
    )


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and how much more there is."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n… ({len(text) - limit} more characters)"


def _status(message: ToolMessage) -> ToolStatus:
    known = message.additional_kwargs.get(OUTCOME)
    if known is not None:
        return cast("ToolStatus", known)
    return "error" if message.status == "error" else "ok"
