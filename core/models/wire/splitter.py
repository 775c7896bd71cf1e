"""Splits a model's streamed text into visible text, thinking, and calls written as text.

Rules (docs/models.md tells the user about them):

- A tag is held back while only its first characters have come; nothing depends on where a piece is
  cut.
- An opening ``<think>`` counts at the start of a line, outside code. Unclosed: all of it is
  thinking.
- ``</think>`` without an opening tag, before a line end, outside code: everything so far was
  thinking. ``close_only`` says that the model is known for it; then its answers begin as thinking.
- A tool call written as text is held back until it is complete and counts only for a bound tool,
  outside code. What turns out to be no call is given back as text.
- gpt-oss control tokens count only where the answer begins with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from core.models.wire.calls import new_call_id, read_arguments
from core.models.wire.collector import Collector
from core.models.wire.pieces import ToolCall
from core.models.wire.tooltext import Tools, parse_block

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
PYTHONIC = re.compile(r"\[\s*(?:([A-Za-z_][\w.-]*)(\()?)?")
ADDRESSEE = re.compile(r"to=(?:functions\.)?([\w.-]+)")
MAX_HEADER = 400

Mode = Literal["text", "think", "call", "header", "addressed"]


def _scanner(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(["\n", "`+", "~{3,}", *map(re.escape, words)]))


PLAIN_WORDS = (*THINK, *CLOSERS, *HARMONY)
TOOL_WORDS = (*PLAIN_WORDS, *OPENERS, "</tool_call>")
PLAIN_SCAN = _scanner(PLAIN_WORDS)
TOOL_SCAN = _scanner(TOOL_WORDS)


class Splitter:
    """Feed text in; visible text and thinking go to the collector, calls are in ``calls``."""

    def __init__(self, tools: Tools, out: Collector, *, close_only: bool = False) -> None:
        self.calls: list[ToolCall] = []
        self.unfinished_call = False
        self.saw_close_only = False
        self._tools = tools
        self._out = out
        self._words = TOOL_WORDS if tools else PLAIN_WORDS
        self._scan = TOOL_SCAN if tools else PLAIN_SCAN
        self._buffer: str = ""
        self._final = False
        self._mode: Mode = "think" if close_only else "text"
        self._assumed = close_only
        self._closers: tuple[str, ...] = CLOSERS
        self._lead = ""
        self._blank = True
        self._fresh_thought = True
        self._thought = False
        self._pythonic = bool(tools)
        self._line_blank = True
        self._fence = ""
        self._inline = 0
        self._harmony = False
        self._opener = ""
        self._addressee = ""
        self._seen = 0
        self._steps: dict[Mode, Callable[[], bool]] = {
            "text": self._step_text,
            "think": self._step_think,
            "call": self._step_call,
            "header": self._step_header,
            "addressed": self._step_addressed,
        }

    def native_reasoning(self) -> None:
        """The server tells thinking and text apart by itself, so text is text."""
        self._thought = True
        if self._assumed:
            self._assumed, self._mode = False, "text"

    def feed(self, text: str) -> None:
        """Add a piece of the model's text."""
        plain = self._mode == "text" and not self._blank and not self._buffer
        if plain and SPECIAL.search(text) is None:
            if self._line_blank:
                self._say(text)
            else:
                self._out.text(text)
            return
        self._buffer += text
        while self._buffer and self._steps[self._mode]():
            pass

    def finish(self, *, complete: bool) -> None:
        """The stream is over; ``complete``: the model ended it by itself."""
        self._final = True
        while self._buffer and self._mode in ("text", "think") and self._steps[self._mode]():
            pass
        rest, self._buffer = self._buffer, ""
        match self._mode:
            case "think" if self._assumed and complete:
                # A model known for </think> did not think this time: what it said is the answer.
                self._blank = True
                self._say(self._out.thought)
            case "call":
                self._end_call(rest, complete)
            case "addressed":
                self._call_addressee(rest, complete=complete)
            case _:
                pass

    # ---- text

    def _step_text(self) -> bool:
        if self._pythonic and self._maybe_pythonic():
            return self._mode == "call"
        match = self._scan.search(self._buffer)
        if match is None:
            keep = 0 if self._final else self._held(self._buffer, self._words)
            self._cut(len(self._buffer) - keep)
            return False
        token, start = match.group(), match.start()
        if match.end() == len(self._buffer) and not self._final and token[0] in "`~":
            self._cut(start)
            return False
        if start:
            self._cut(start)
        return self._token(token)

    def _token(self, token: str) -> bool:
        """The buffer begins with this token."""
        if token.isspace():
            self._take(1, say=True)
            self._line_blank, self._inline = True, 0
        elif token[0] in "`~":
            self._code(token)
        elif self._fence or self._inline:
            self._take(len(token), say=True)
        elif token in THINK:
            self._open_think(token)
        elif token in CLOSERS:
            return self._unopened(token)
        elif token in HARMONY:
            self._control(token)
        elif token in OPENERS:
            self._mode, self._opener, self._seen = "call", token, 0
        else:
            # </tool_call> whose opening tag the model forgot.
            self._take(len(token), say=not self.calls)
        return True

    def _code(self, token: str) -> None:
        at_start = self._line_blank
        self._take(len(token), say=True)
        if self._fence:
            if at_start and token.startswith(self._fence):
                self._fence = ""
        elif at_start and len(token) >= 3:
            self._fence = token
        elif token.startswith("`"):
            self._inline = 0 if self._inline == len(token) else (self._inline or len(token))

    def _open_think(self, token: str) -> None:
        counts = self._line_blank
        self._take(len(token), say=not counts)
        if counts:
            self._mode, self._closers, self._fresh_thought = "think", (THINK[token],), True

    def _unopened(self, token: str) -> bool:
        following = self._buffer[len(token) : len(token) + 1]
        if not following and not self._final:
            return False
        if self._blank:
            self._take(len(token), say=False)
        elif self._thought or following not in ("", "\n", "\r"):
            self._take(len(token), say=True)
        else:
            self._take(len(token), say=False)
            self._out.reclassify()
            self.saw_close_only = self._thought = self._blank = True
        return True

    def _maybe_pythonic(self) -> bool:
        """Hold back an answer that begins with ``[name(`` of a bound tool, or may still."""
        text = self._buffer.lstrip()
        if not self._blank or (text and text[0] != "["):
            self._pythonic = False
            return False
        if not text or not (match := PYTHONIC.match(text)):
            return False
        name = match.group(1) or ""
        if match.group(2) and name in self._tools:
            self._mode, self._opener, self._buffer, self._lead = "call", "", text, ""
            return True
        undecided = match.end() == len(text) and any(tool.startswith(name) for tool in self._tools)
        return undecided and not self._final

    def _say(self, text: str) -> None:
        if self._line_blank and text and not text.isspace():
            self._line_blank = False
        if not self._blank:
            self._out.text(text)
            return
        self._lead += text
        stripped = self._lead.lstrip()
        if stripped:
            # Empty lines at the start go, the indentation of the first line stays.
            indent = self._lead[: len(self._lead) - len(stripped)]
            self._out.text(indent[indent.rfind("\n") + 1 :] + stripped)
            self._blank, self._lead = False, ""

    def _cut(self, count: int) -> None:
        self._take(count, say=True)

    def _take(self, count: int, *, say: bool) -> None:
        head, self._buffer = self._buffer[:count], self._buffer[count:]
        if say:
            self._say(head)

    @staticmethod
    def _held(text: str, words: tuple[str, ...]) -> int:
        """Length of the tail that may be the beginning of one of the words."""
        start = max(text.rfind(first, len(text) - 16 if len(text) > 16 else 0) for first in "<[")
        if start >= 0:
            tail = text[start:]
            if any(word.startswith(tail) for word in words):
                return len(tail)
        return 2 if text.endswith("~~") else int(text.endswith("~"))

    # ---- thinking

    def _step_think(self) -> bool:
        if self._fresh_thought and not self._begin_thought():
            return False
        places = ((self._buffer.find(word), word) for word in self._closers)
        found = [(at, word) for at, word in places if at >= 0]
        if not found:
            keep = 0 if self._final else self._held(self._buffer, self._closers)
            self._think(self._buffer[: len(self._buffer) - keep])
            self._buffer = self._buffer[len(self._buffer) - keep :]
            return False
        at, word = min(found)
        self._think(self._buffer[:at])
        self._buffer = self._buffer[
            at if word in ("<|channel|>", "<|start|>") else at + len(word) :
        ]
        self._mode, self._assumed, self._line_blank = "text", False, True
        self._thought = True
        return True

    def _begin_thought(self) -> bool:
        """Drop blank space, and the opening tag that a close-only model writes after all."""
        self._buffer = self._buffer.lstrip()
        opened = next((word for word in THINK if self._buffer.startswith(word)), None)
        if self._assumed and opened:
            self._assumed, self._closers = False, (THINK[opened],)
            self._buffer = self._buffer[len(opened) :].lstrip()
        if not self._buffer:
            return False
        if self._assumed and not self._final:
            self._fresh_thought = any(word.startswith(self._buffer) for word in THINK)
        else:
            self._fresh_thought = False
        return not self._fresh_thought

    def _think(self, text: str) -> None:
        self._out.reasoning(text)

    # ---- calls written as text

    def _step_call(self) -> bool:
        closer = OPENERS.get(self._opener, "")
        at = self._buffer.find(closer, max(0, self._seen - len(closer))) if closer else -1
        self._seen = len(self._buffer)
        if at < 0:
            return False
        end = at + len(closer)
        block, self._buffer = self._buffer[:end], self._buffer[end:]
        self._end_call(block, complete=True)
        return True

    def _end_call(self, block: str, complete: bool) -> None:
        self._mode = "text"
        found = parse_block(block, self._tools)
        if not complete:
            self.unfinished_call = any(name in block for name in self._tools)
            if not self.unfinished_call:
                self._say(block)
        elif found is None:
            self._say(block)
        else:
            self.calls.extend(found.calls)
            if found.rest.strip():
                self._say(found.rest)

    # ---- gpt-oss control tokens that the server let through

    def _control(self, token: str) -> None:
        if not self._harmony and not (self._blank and token in ("<|channel|>", "<|start|>")):
            self._take(len(token), say=True)
            return
        self._harmony = True
        if token in ("<|channel|>", "<|start|>"):
            self._mode = "header"
        else:
            self._take(len(token), say=False)

    def _step_header(self) -> bool:
        at = self._buffer.find("<|message|>")
        if at < 0 or at > MAX_HEADER:
            if len(self._buffer) > MAX_HEADER + len("<|message|>"):
                # No header is that long: the words were meant literally.
                self._mode, self._harmony = "text", False
                self._take(self._buffer.index("|>") + 2, say=True)
                return True
            return False
        head, self._buffer = self._buffer[:at], self._buffer[at + len("<|message|>") :]
        channel = head.rpartition("<|channel|>")[2].strip()
        addressee = ADDRESSEE.search(head)
        if addressee and addressee.group(1) in self._tools:
            self._mode, self._addressee = "addressed", addressee.group(1)
        elif channel.startswith("analysis"):
            self._mode, self._fresh_thought = "think", True
            self._closers = ("<|end|>", "<|return|>", "<|channel|>", "<|start|>")
        else:
            self._mode, self._line_blank = "text", True
        return True

    def _step_addressed(self) -> bool:
        for closer in ("<|call|>", "<|end|>"):
            body, found, rest = self._buffer.partition(closer)
            if found:
                self._mode, self._buffer = "text", rest
                self._call_addressee(body, complete=True)
                return True
        return False

    def _call_addressee(self, body: str, *, complete: bool) -> None:
        self._mode = "text"
        arguments = read_arguments(body)
        if complete and arguments is not None:
            self.calls.append(ToolCall(new_call_id(), self._addressee, arguments))
        else:
            self.unfinished_call = True
