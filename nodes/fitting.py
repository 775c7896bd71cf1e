"""Making a conversation fit the model's context, whatever is in it.

The newest messages win. A message that is too long by itself loses its middle, in the request only:
the conversation keeps it whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.models.estimate import message_tokens, messages_tokens, text_tokens

Message = dict[str, Any]

RESULT_SHARE = 3
"""A tool result may take a third of what there is."""

SMALLEST = 64
"""Tokens that a shortened message keeps at least."""


def fitting(messages: Sequence[Message], budget: int) -> list[Message]:
    """The newest messages within a budget of estimated tokens. What the user asked last and the
    newest message are always among them, and a call never stands without its results."""
    units = _units(messages)
    if not units:
        return []
    last = len(units) - 1
    asked = max((n for n, unit in enumerate(units) if unit[0]["role"] == "user"), default=last)
    kept = {asked: _unit_cut(units[asked], budget if asked == last else budget // 2)}
    if asked != last:
        kept[last] = _unit_cut(units[last], budget - messages_tokens(kept[asked]))
    left = budget - sum(messages_tokens(unit) for unit in kept.values())
    for number in range(last - 1, -1, -1):
        if number == asked:
            continue
        unit = [_result_cut(message, budget // RESULT_SHARE) for message in units[number]]
        left -= messages_tokens(unit)
        if left < 0:
            break
        kept[number] = unit
    fit = [message for number in sorted(kept) for message in kept[number]]
    while len(fit) > 1 and fit[0]["role"] == "tool":
        del fit[0]
    return fit


def _units(messages: Sequence[Message]) -> list[list[Message]]:
    """Messages with the tool results that follow them."""
    units: list[list[Message]] = []
    for message in messages:
        if message["role"] == "tool" and units:
            units[-1].append(message)
        else:
            units.append([message])
    return units


def _unit_cut(unit: list[Message], budget: int) -> list[Message]:
    """The first message, and of its results as much as fits, each with an equal share."""
    results = unit[1:]
    first = cut(unit[0], budget // 2 if results else budget)
    left = budget - message_tokens(first)
    kept: list[Message] = []
    for number, result in enumerate(reversed(results)):
        short = cut(result, min(left // (len(results) - number), budget // RESULT_SHARE))
        left -= message_tokens(short)
        if left < 0:
            break
        kept.append(short)
    return [first, *reversed(kept)]


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
