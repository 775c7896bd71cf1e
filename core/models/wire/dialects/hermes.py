"""Hermes, Qwen and many others: JSON within ``<tool_call>``."""

from __future__ import annotations

from core.models.wire.dialects.base import Dialect, Opener, first_of, json_calls, only, python_calls

HERMES = Dialect(
    "hermes",
    "Hermes, Qwen 2.5 and 3, Granite 4, SmolLM, most fine-tunes",
    openers=(Opener("<tool_call>", "</tool_call>", first_of(only(json_calls), python_calls)),),
    ends=("<|im_end|>", "<|endoftext|>", "<|im_start|>"),
)
