"""gpt-oss: channels. Its words count only where an answer begins with them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.models.wire.dialects.base import Dialect, Tools

MESSAGE = "<|message|>"
HEADS = ("<|channel|>", "<|start|>")
WORDS = (*HEADS, MESSAGE, "<|end|>", "<|return|>", "<|call|>")
THOUGHT_ENDS = ("<|end|>", "<|return|>", *HEADS)
CALL_ENDS = ("<|call|>", "<|end|>")
ADDRESSEE = re.compile(r"to=(?:functions\.)?([\w.-]+)")
MAX_HEADER = 400

STRIPPED = re.compile(r"analysis(?=[A-Z\d\"'(])")
FINAL = ("assistantfinal",)
"""What is left of the channels where a server removes the control tokens alone."""


@dataclass(frozen=True, slots=True)
class Header:
    """Of a message: whether it is thinking, and the bound tool that it goes to."""

    thinking: bool
    tool: str


def read_header(head: str, tools: Tools) -> Header:
    """What stands between ``<|channel|>`` and ``<|message|>``."""
    channel = head.rpartition("<|channel|>")[2].strip()
    addressee = ADDRESSEE.search(head)
    tool = addressee.group(1) if addressee and addressee.group(1) in tools else ""
    return Header(channel.startswith("analysis"), tool)


HARMONY = Dialect("harmony", "gpt-oss (`core/models/wire/splitter.py` follows its channels)")
