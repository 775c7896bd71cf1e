"""What servers say of an answer: tokens in every form, and the name of the model."""

from __future__ import annotations

from typing import Any

import pytest

from core.events import Usage
from core.models.reported import Reported, label

TIMED = {"cache_n": 844, "prompt_n": 22, "predicted_n": 7}


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([{"usage": {"prompt_tokens": 1, "completion_tokens": 2}}], Usage(1, 2)),
        (
            [
                {"usage": {"prompt_tokens": 9, "completion_tokens": 2}},
                {"usage": {"prompt_tokens": 9, "completion_tokens": 4}},
            ],
            Usage(9, 4),
        ),
        (
            [{"usage": {"prompt_tokens": 3, "completion_tokens": None, "total_tokens": 5}}],
            Usage(3, 2),
        ),
        ([{"usage": {"input_tokens": 3, "output_tokens": 4}}], Usage(3, 4)),
        ([{"choices": [{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}]}], Usage(3, 4)),
        ([{"x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}}], Usage(3, 4)),
        ([{"prompt_eval_count": 3, "eval_count": 4}], Usage(3, 4)),
        ([{"timings": TIMED}], Usage(866, 7)),
        (
            [{"timings": TIMED}, {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}],
            Usage(9, 2),
        ),
        (
            [{"timings": TIMED, "usage": {"prompt_tokens": 0, "completion_tokens": 0}}],
            Usage(866, 7),
        ),
        ([{"timings": {"prompt_n": 22, "predicted_n": 7}}], Usage(22, 7)),
        ([{"usage": {"prompt_tokens": 8300, "completion_tokens": 0}}], Usage(8300, 0)),
        ([{"usage": {"prompt_tokens": 0, "completion_tokens": 0}}], None),
        ([{"usage": {"prompt_tokens": None}}], None),
        ([{"usage": None}, {"usage": "many"}, {"timings": 7}, {"choices": [7]}], None),
        ([{"usage": {"prompt_tokens": True, "completion_tokens": -1}}], None),
        ([{"usage": {"prompt_tokens": 2**70, "completion_tokens": 1}}], None),
        ([{"choices": [{"delta": {"content": "x"}}]}], None),
    ],
)
def test_tokens(chunks: list[dict[str, Any]], expected: Usage | None) -> None:
    reported = Reported()
    for chunk in chunks:
        reported.add(chunk)
    assert reported.usage == expected


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("qwen05.gguf", "qwen05"),
        ("/models/Qwen2.5-0.5B-Instruct-Q4_K_M.gguf", "Qwen2.5-0.5B-Instruct-Q4_K_M"),
        ("C:\\models\\llama.GGUF", "llama"),
        ("./models/Qwen3-8B/", "Qwen3-8B"),
        ("bartowski/Qwen-GGUF/qwen.gguf", "qwen"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("llama3:latest", "llama3:latest"),
        ("gpt-4.1", "gpt-4.1"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_the_label_is_a_name_and_no_path(model: str, name: str) -> None:
    assert label(model) == name


def test_the_model_that_answered() -> None:
    reported = Reported()
    for chunk in ({"model": None}, {"model": 7}, {"model": "a"}, {"model": "b"}):
        reported.add(chunk)
    assert reported.model == "a"
