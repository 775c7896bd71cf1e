"""Every recorded fault of a model's answer, read byte by byte as it came."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.models.errors import ModelError
from core.models.wire.chunks import ChunkReader
from core.models.wire.pieces import ModelAnswer
from core.models.wire.sse import SseParser
from core.models.wire.tools import known_tools

FAULTS = Path(__file__).parents[3] / "fixtures" / "model_faults.jsonl"
ROWS: dict[str, dict[str, Any]] = {
    row["id"]: row for row in map(orjson.loads, FAULTS.read_bytes().splitlines())
}
TEXT = {"type": "string"}


def _tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = known_tools(
    [
        _tool("set_profile", key=TEXT, value=TEXT),
        _tool("get_profile"),
        _tool("current_time", time_zone=TEXT),
    ]
)


def hear(row: dict[str, Any]) -> ModelAnswer:
    """What the answer of a row comes to. Raises ModelError."""
    parser, reader, answer = SseParser(), ChunkReader(TOOLS), ModelAnswer()
    for chunk in row["server_chunks"]:
        if isinstance(chunk, dict):
            line = b"data: " + orjson.dumps(chunk) + b"\n\n"
        else:
            line = b"data: [DONE]\n\n" if chunk == "[DONE]" else chunk.encode()
        for byte in line:
            for found in parser.feed(bytes([byte])):
                reader.add(found)
        answer.add(reader.take())
    reader.end()
    answer.add(reader.take())
    return answer


def _ran(name: str, **arguments: Any) -> Callable[[ModelAnswer], bool]:
    def right(answer: ModelAnswer) -> bool:
        calls = [(call.name, call.arguments) for call in answer.calls]
        return calls == [(name, arguments)] and "<" not in answer.text and "{" not in answer.text

    return right


def _told(answer: ModelAnswer) -> bool:
    return bool(answer.invalid) and answer.text == ""


def _said(text: str, thought: str | None = None) -> Callable[[ModelAnswer], bool]:
    def right(answer: ModelAnswer) -> bool:
        as_thought = thought is None or answer.reasoning == thought
        return answer.text.strip() == text and as_thought and not answer.calls

    return right


OSLO = _ran("set_profile", key="city", value="Oslo")

EXPECTED: dict[str, Callable[[ModelAnswer], bool]] = {
    "glm_arg_key": OSLO,
    "minimax_invoke": OSLO,
    "kimi_section": OSLO,
    "deepseek_dsml": OSLO,
    "gemma4_call": OSLO,
    "bare_json_call": OSLO,
    "fenced_json_call": OSLO,
    "hermes_extra_brace": OSLO,
    "hermes_broken_json": _told,
    "seed_think": _said("Four.", "I add two and two."),
    "mm_think": _said("Four.", "I add."),
    "assistantfinal": _said("Four.", "We add two and two."),
    "close_only_no_newline": _said("The capital is Paris.", "I recall the capital. It is Paris."),
    "reasoning_details_only": _said("Hello!", "The user greets."),
    "im_end_shown": _said("Hello there."),
    "endoftext_shown": _said("Four."),
    "args_empty_object_first": OSLO,
    "args_new_id_each_chunk": OSLO,
    "args_json_prefix": OSLO,
    "arg_null_optional": _ran("current_time"),
    "broken_then_right": _told,
    "final_full_message": _said("Hello there."),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_answer_is_read_as_it_was_meant(name: str) -> None:
    answer = hear(ROWS[name])
    assert EXPECTED[name](answer), answer


def test_zero_tokens_are_an_estimate() -> None:
    reader = ChunkReader(TOOLS)
    for chunk in ROWS["usage_zero"]["server_chunks"][:-1]:
        reader.add(chunk)
    assert reader.reported_usage is None


def test_a_raw_line_with_an_error_is_the_error() -> None:
    with pytest.raises(ModelError) as caught:
        hear(ROWS["error_raw_line"])
    assert "CUDA out of memory" in str(caught.value)
