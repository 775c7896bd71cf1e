"""Token estimates stay near what tokenizers count."""

from __future__ import annotations

import pytest

from core.models.estimate import messages_tokens, text_tokens, tools_tokens
from tests.support.gateways import WEATHER


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("Hello", 1, 2),
        ("The quick brown fox jumps over the lazy dog. " * 10, 90, 120),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю. " * 10, 150, 260),
        ("我能吞下玻璃而不伤身体。" * 10, 90, 140),
        ("👋" * 10, 10, 30),
        ("é" * 10, 3, 6),
        ("\ud83d", 1, 2),
    ],
)
def test_text(text: str, least: int, most: int) -> None:
    assert least <= text_tokens(text) <= most


def test_messages_and_tools() -> None:
    function = {"name": "f", "arguments": '{"a": 1}'}
    messages = [
        {"role": "user", "content": "Hello there"},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": function}]},
    ]
    assert 1000 < messages_tokens(messages) < 1050
    assert tools_tokens(None) == 0
    assert 30 < tools_tokens([WEATHER]) < 70
