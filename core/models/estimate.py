"""Token counts without a tokenizer.

A rule of thumb that holds for the tokenizers of current models within about 25%: four ASCII
characters, two and a half characters of a two-byte alphabet (Cyrillic, Greek, Hebrew, Arabic,
accents), or one character of a three-byte script (Chinese, Japanese, Korean) make a token; an emoji
makes two. Each message costs four more for its role and separators. Images count as 1,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import orjson

ASCII_PER_TOKEN = 4.0
TWO_BYTE_PER_TOKEN = 2.5
MESSAGE_TOKENS = 4
IMAGE_TOKENS = 1000


def text_tokens(text: str) -> int:
    """Tokens of a text."""
    if text.isascii():
        return -(-len(text) // 4)
    ascii_count = len(text.encode("ascii", "ignore"))
    others = len(text) - ascii_count
    other_bytes = len(text.encode("utf-8", "surrogatepass")) - ascii_count
    # Every other character has two bytes; what is over belongs to three-byte (one) and four-byte
    # (two) ones.
    over = other_bytes - 2 * others
    two_byte = max(others - over, 0)
    return round(ascii_count / ASCII_PER_TOKEN + two_byte / TWO_BYTE_PER_TOKEN + over) or 1


def head(text: str, budget: int) -> str:
    """The beginning of the text, at most ``budget`` tokens long."""
    size = min(len(text), max(budget, 0) * round(ASCII_PER_TOKEN))
    while size > 0 and (tokens := text_tokens(text[:size])) > budget:
        size = min(size - 1, size * budget // tokens)
    return text[:size]


def message_tokens(message: Mapping[str, Any]) -> int:
    """Tokens of one message in OpenAI's form."""
    count = MESSAGE_TOKENS
    content = message.get("content")
    if isinstance(content, str):
        count += text_tokens(content)
    elif isinstance(content, list):
        count += sum(_part_tokens(part) for part in cast("list[Any]", content))
    for call in message.get("tool_calls") or ():
        function: dict[str, Any] = call.get("function") or {}
        count += MESSAGE_TOKENS
        count += text_tokens(f"{function.get('name')}{function.get('arguments')}")
    return count


def messages_tokens(messages: Iterable[Mapping[str, Any]]) -> int:
    """Tokens of a conversation."""
    return sum(message_tokens(message) for message in messages)


def tools_tokens(tools: Sequence[Mapping[str, Any]] | None) -> int:
    """Tokens of the tool schemas in OpenAI's form."""
    return -(-len(orjson.dumps(tools)) // 4) if tools else 0


def _part_tokens(part: Any) -> int:
    if isinstance(part, str):
        return text_tokens(part)
    text: Any = cast("dict[str, Any]", part).get("text") if isinstance(part, dict) else None
    return text_tokens(text) if isinstance(text, str) else IMAGE_TOKENS
