"""Making a conversation fit the model's context, whatever is in it.

The newest messages win. A message that is too long by itself loses its middle, in the request only:
the conversation keeps it whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import orjson

from core.engine.kept import POINTER
from core.models.estimate import message_tokens, messages_tokens, text_tokens

Message = dict[str, Any]

RESULT_SHARE = 3
"""A tool result may take a third of what there is …"""
OLD_SHARE = 3
"""… and so may any message of the past: a long one does not hide all that was before it."""
PART_SHARE = 8
"""The oldest message is shown in part where an eighth is left for it."""

SMALLEST = 64
"""Tokens that a shortened message keeps at least."""

NOTE = "\n[… {gone} characters left out to fit the model's context …]\n"
NOTE_TOKENS = 18


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
        whole = messages_tokens(units[number])
        if whole <= min(left, budget // OLD_SHARE):
            left -= whole
            kept[number] = units[number]
            continue
        unit = [cut(message, budget // OLD_SHARE) for message in units[number]]
        if messages_tokens(unit) > left:
            unit = _unit_cut(units[number], left)
            if left >= budget // PART_SHARE and messages_tokens(unit) <= left:
                kept[number] = unit
            break
        left -= messages_tokens(unit)
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
    """The first message, and of its results as much as fits, each with an equal share. A call whose
    result does not fit goes with it."""
    results = unit[1:]
    first = cut(unit[0], budget // 2 if results else budget)
    left = budget - message_tokens(first)
    kept: list[Message] = []
    for number, result in enumerate(reversed(results)):
        short = cut(result, min(left // (len(results) - number), budget // RESULT_SHARE))
        left -= message_tokens(short)
        if left < 0 and kept:
            break
        kept.append(short)
    gone = {result.get("tool_call_id") for result in results[: len(results) - len(kept)]}
    return [_without_calls(first, gone) if gone else first, *reversed(kept)]


def _without_calls(message: Message, gone: set[Any]) -> Message:
    calls = [call for call in message.get("tool_calls") or () if call.get("id") not in gone]
    rest = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**rest, "tool_calls": calls} if calls else rest


def cut(message: Message, budget: int) -> Message:
    """The message with at most ``budget`` tokens, or the least that is left of it: beginning and
    end of its text with a note between, and its calls without their long arguments."""
    if message_tokens(message) <= budget:
        return message
    if message.get("tool_calls"):
        message = {**message, "tool_calls": _calls_cut(message["tool_calls"], budget // 2)}
    content = message.get("content")
    if not isinstance(content, str):
        return message
    pointer = POINTER.search(content) if message["role"] == "tool" else None
    end = pointer.group() if pointer else ""
    body = content[: len(content) - len(end)]
    room = max(budget - (message_tokens(message) - text_tokens(body)), SMALLEST)
    return {**message, "content": middle_out(body, room) + end}


def _calls_cut(calls: Sequence[Message], budget: int) -> list[Message]:
    """Calls whose arguments share the budget; what is left of them can still be parsed."""
    share = max(budget // max(len(calls), 1), SMALLEST)
    short: list[Message] = []
    for call in calls:
        function: Message = call["function"]
        if text_tokens(str(function["arguments"])) > share:
            arguments = _arguments_cut(str(function["arguments"]), share)
            call = {**call, "function": {**function, "arguments": arguments}}
        short.append(call)
    return short


def _arguments_cut(arguments: str, budget: int) -> str:
    """Arguments whose long texts lost their middle; none at all where that is not enough."""
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return "{}"
    given = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
    room = budget // max(len(given), 1)
    texts = {
        key: middle_out(value, room) if isinstance(value, str) else value
        for key, value in given.items()
    }
    short = orjson.dumps(texts).decode()
    return short if text_tokens(short) <= 2 * budget else "{}"


def middle_out(text: str, budget: int) -> str:
    """The text without its middle, with a note in its place: at most ``budget`` tokens, or the note
    alone."""
    if text_tokens(text) <= budget:
        return text
    room, keep = max(budget - NOTE_TOKENS, 0), len(text)
    while keep > 0 and (tokens := _ends_tokens(text, keep // 2)) > room:
        keep = min(keep - 1, keep * room // tokens)
    half = keep // 2
    return text[:half] + NOTE.format(gone=len(text) - 2 * half) + text[len(text) - half :]


def _ends_tokens(text: str, half: int) -> int:
    return text_tokens(text[:half] + text[len(text) - half :])
