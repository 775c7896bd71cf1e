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

from collections.abc import Callable
from typing import Literal

from core.models.wire.calls import new_call_id, read_arguments
from core.models.wire.collector import Collector
from core.models.wire.pieces import ToolCall
from core.models.wire.tooltext import Tools, parse_block
from core.models.wire.words import (
    ADDRESSEE,
    CLOSERS,
    CLOSING,
    HARMONY,
    INDENT,
    LONGEST,
    MAX_HEADER,
    MAX_PYTHONIC,
    MAX_RUN,
    OPENERS,
    PLAIN_SCAN,
    PLAIN_WORDS,
    PYTHONIC,
    SPACE,
    SPECIAL,
    THINK,
    TOOL_SCAN,
    TOOL_WORDS,
    any_of,
)

Mode = Literal["text", "think", "call", "header", "addressed"]


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
        self._at = 0
        self._parts: list[str] = []
        self._tail = ""
        self._final = False
        self._mode: Mode = "think" if close_only else "text"
        self._assumed = close_only
        self._closers: tuple[str, ...] = CLOSERS
        self._closing = CLOSING
        self._lead: list[str] = []
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
        # What is kept is short (the beginning of a word, a header); a call is kept in parts.
        self._buffer += text
        self._run()

    def finish(self, *, complete: bool) -> None:
        """The stream is over; ``complete``: the model ended it by itself."""
        self._final = True
        self._run()
        rest, self._buffer, self._parts = "".join(self._parts) + self._buffer, "", []
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

    def _run(self) -> None:
        """Take steps as far as they lead; each begins at ``_at`` and moves it on."""
        while self._at < len(self._buffer) and self._steps[self._mode]():
            pass
        self._buffer, self._at = self._buffer[self._at :], 0

    # ---- text

    def _step_text(self) -> bool:
        if self._pythonic and self._maybe_pythonic():
            return self._mode == "call"
        match = self._scan.search(self._buffer, self._at)
        if match is None:
            keep = 0 if self._final else self._held(self._words)
            self._take(len(self._buffer) - keep - self._at, say=True)
            return False
        token, before = match.group(), match.start() - self._at
        if before:
            self._take(before, say=True)
        open_end = match.end() == len(self._buffer) and len(token) < MAX_RUN
        if open_end and not self._final and token[0] in "`~":
            return False
        return self._token(token)

    def _token(self, token: str) -> bool:
        """The next characters are this token."""
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
            self._begin_call(token)
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
            self._begin_think((THINK[token],))

    def _unopened(self, token: str) -> bool:
        end = self._at + len(token)
        following = self._buffer[end : end + 1]
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
        indent = INDENT.match(self._buffer, self._at)
        start = indent.end() if indent else self._at
        first = self._buffer[start : start + 1]
        if not self._blank or first not in ("", "\n", "["):
            self._pythonic = False
            return False
        match = PYTHONIC.match(self._buffer, start)
        if match is None:
            return False
        name = match.group(1) or ""
        if match.group(2) and name in self._tools:
            self._at, self._lead = start, []
            self._begin_call("")
            return True
        undecided = match.end() == len(self._buffer) and match.end() - start <= MAX_PYTHONIC
        possible = any(tool.startswith(name) for tool in self._tools)
        return undecided and possible and not self._final

    def _say(self, text: str) -> None:
        if self._line_blank and text and not text.isspace():
            self._line_blank = False
        if not self._blank:
            self._out.text(text)
            return
        # Empty lines at the start go, the indentation of the first line stays.
        space = len(text) - len(text.lstrip())
        if (line := text.rfind("\n", 0, space)) >= 0:
            self._lead, text = [], text[line + 1 :]
        self._lead.append(text)
        if text and not text.isspace():
            self._out.text("".join(self._lead))
            self._blank, self._lead = False, []

    def _take(self, count: int, *, say: bool) -> None:
        head = self._buffer[self._at : self._at + count]
        self._at += count
        if say:
            self._say(head)

    def _held(self, words: tuple[str, ...]) -> int:
        """Length of the tail that may be the beginning of one of the words."""
        text = self._buffer[max(self._at, len(self._buffer) - LONGEST) :]
        start = max(text.rfind(first) for first in "<[")
        if start >= 0:
            tail = text[start:]
            if any(word.startswith(tail) for word in words):
                return len(tail)
        return 2 if text.endswith("~~") else int(text.endswith("~"))

    # ---- thinking

    def _begin_think(self, closers: tuple[str, ...]) -> None:
        self._mode, self._closers, self._fresh_thought = "think", closers, True
        self._closing = any_of(closers)

    def _step_think(self) -> bool:
        if self._fresh_thought and not self._begin_thought():
            return False
        match = self._closing.search(self._buffer, self._at)
        if match is None:
            keep = 0 if self._final else self._held(self._closers)
            self._out.reasoning(self._buffer[self._at : len(self._buffer) - keep])
            self._at = len(self._buffer) - keep
            return False
        self._out.reasoning(self._buffer[self._at : match.start()])
        again = match.group() in ("<|channel|>", "<|start|>")
        self._at = match.start() if again else match.end()
        self._mode, self._assumed, self._line_blank = "text", False, True
        self._thought = True
        return True

    def _begin_thought(self) -> bool:
        """Drop blank space, and the opening tag that a close-only model writes after all."""
        self._skip_space()
        opened = next((word for word in THINK if self._buffer.startswith(word, self._at)), None)
        if self._assumed and opened:
            self._assumed = False
            self._begin_think((THINK[opened],))
            self._at += len(opened)
            self._skip_space()
        if self._at == len(self._buffer):
            return False
        self._fresh_thought = False
        if self._assumed and not self._final:
            begun = self._buffer[self._at : self._at + LONGEST]
            self._fresh_thought = any(word.startswith(begun) for word in THINK)
        return not self._fresh_thought

    def _skip_space(self) -> None:
        if match := SPACE.match(self._buffer, self._at):
            self._at = match.end()

    # ---- calls written as text

    def _begin_call(self, opener: str) -> None:
        self._mode, self._tail = "call", ""
        closer = OPENERS.get(opener, "")
        self._closers = (closer,) if closer else ()
        self._closing = any_of(self._closers)

    def _step_call(self) -> bool:
        block = self._until_closer()
        if block is None:
            return False
        self._end_call(block, complete=True)
        return True

    def _until_closer(self) -> str | None:
        """What was kept, with its closing word, once that has come; each character is looked at
        once."""
        end = -1
        if self._closers:
            reach = max(map(len, self._closers)) - 1
            # The closing word may have begun in the text before.
            edge = self._tail + self._buffer[self._at : self._at + reach]
            match = self._closing.search(edge)
            if match is not None:
                end = self._at + match.end() - len(self._tail)
            elif match := self._closing.search(self._buffer, self._at):
                end = match.end()
            else:
                last = self._buffer[max(self._at, len(self._buffer) - reach) :]
                self._tail = (self._tail + last)[-reach:]
        stop = end if end >= 0 else len(self._buffer)
        self._parts.append(self._buffer[self._at : stop])
        self._at = stop
        if end < 0:
            return None
        whole, self._parts, self._tail = "".join(self._parts), [], ""
        return whole

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
        end = self._at + MAX_HEADER + len("<|message|>")
        at = self._buffer.find("<|message|>", self._at, end)
        if at < 0:
            if len(self._buffer) > end:
                # No header is that long: the words were meant literally.
                self._mode, self._harmony = "text", False
                self._take(self._buffer.index("|>", self._at) + 2 - self._at, say=True)
                return True
            return False
        head = self._buffer[self._at : at]
        self._at = at + len("<|message|>")
        channel = head.rpartition("<|channel|>")[2].strip()
        addressee = ADDRESSEE.search(head)
        if addressee and addressee.group(1) in self._tools:
            self._mode, self._addressee, self._tail = "addressed", addressee.group(1), ""
            self._closers = ("<|call|>", "<|end|>")
            self._closing = any_of(self._closers)
        elif channel.startswith("analysis"):
            self._begin_think(("<|end|>", "<|return|>", "<|channel|>", "<|start|>"))
        else:
            self._mode, self._line_blank = "text", True
        return True

    def _step_addressed(self) -> bool:
        body = self._until_closer()
        if body is None:
            return False
        self._call_addressee(self._closing.sub("", body), complete=True)
        return True

    def _call_addressee(self, body: str, *, complete: bool) -> None:
        self._mode = "text"
        arguments = read_arguments(body)
        if complete and arguments is not None:
            self.calls.append(ToolCall(new_call_id(), self._addressee, arguments))
        else:
            self.unfinished_call = True
