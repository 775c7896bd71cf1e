"""The words that a model's text is searched for, and the patterns that find them."""

from __future__ import annotations

import re

THINK = {"<think>": "</think>", "<thinking>": "</thinking>", "[THINK]": "[/THINK]"}
CLOSERS = tuple(THINK.values())
HARMONY = ("<|channel|>", "<|start|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>")
OPENERS = {
    "<tool_call>": "</tool_call>",
    "<function=": "</function>",
    "[TOOL_CALLS]": "",
    "<|python_tag|>": "",
}
"""How calls begin and where they end; "" is the end of the answer."""

SPECIAL = re.compile(r"[\n`~<\[]")
SPACE = re.compile(r"\s*+")
INDENT = re.compile(r"[^\S\n]*+")
PYTHONIC = re.compile(r"\[\s*+(?:([A-Za-z_][\w.-]*+)(\()?)?")
MAX_PYTHONIC = 256
"""Characters within which an answer that is a pythonic call has named its tool."""
ADDRESSEE = re.compile(r"to=(?:functions\.)?([\w.-]+)")
MAX_HEADER = 400


def scanner(words: tuple[str, ...]) -> re.Pattern[str]:
    """Finds the words, line ends, and marks of code."""
    # A run of marks is read in parts of 64, so that an endless one is looked at once.
    return re.compile("|".join(["\n", "`{1,64}", "~{3,64}", *map(re.escape, words)]))


def any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of the words."""
    return re.compile("|".join(map(re.escape, words)))


PLAIN_WORDS = (*THINK, *CLOSERS, *HARMONY)
TOOL_WORDS = (*PLAIN_WORDS, *OPENERS, "</tool_call>")
CLOSING = any_of(CLOSERS)
LONGEST = max(map(len, TOOL_WORDS))
MAX_RUN = 64
PLAIN_SCAN = scanner(PLAIN_WORDS)
TOOL_SCAN = scanner(TOOL_WORDS)
