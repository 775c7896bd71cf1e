"""Making a conversation fit the model's context, whatever is in it.

The newest messages win. A message that is too long by itself loses its middle, in the request only:
the conversation keeps it whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.models.estimate import message_tokens, text_tokens

Message = dict[str, Any]

RESULT_SHARE = 3
"""A tool result may take a third of what there is."""

SMALLEST = 64
"""Tokens that a shortened message keeps at least."""


def fitting(messages: Sequence[Message], budget: int) -> list[Message]:
    """The newest messages within a budget of estimated tokens; always at least the last one.

    The first message kept is never a tool result, whose call would be missing.
    """
    if not messages:
        return []
    shorter = [_result_cut(message, budget // RESULT_SHARE) for message in messages]
    last = cut(shorter[-1], budget)
    kept, total = [last], message_tokens(last)
    for message in reversed(shorter[:-1]):
        total += message_tokens(message)
        if total > budget:
            break
        kept.append(message)
    kept.reverse()
    while len(kept) > 1 and kept[0]["role"] == "tool":
        del kept[0]
    return kept


def _result_cut(message: Message, budget: int) -> Message:
    return cut(message, budget) if message["role"] == "tool" else message


def cut(message: Message, budget: int) -> Message:
    """The message with at most ``budget`` tokens of text: beginning and end, and a note between."""
    content = message.get("content")
    if not isinstance(content, str) or message_tokens(message) <= budget:
        return message
    room = max(budget - (message_tokens(message) - text_tokens(content)), SMALLEST)
    return {**message, "content": middle_out(content, room)}


def middle_out(text: str, budget: int) -> str:
    """The text without its middle, at most about ``budget`` tokens long."""
    keep = len(text)
    while keep > 0 and text_tokens(text[: keep // 2] + text[len(text) - keep // 2 :]) > budget:
        keep = keep * 3 // 4
    half = keep // 2
    gone = len(text) - 2 * half
    note = f"[… {gone} characters left out to fit the model's context …]"
    return f"{text[:half]}\n{note}\n{text[len(text) - half :]}"
