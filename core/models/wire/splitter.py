"""Splits a model's streamed text into visible text, thinking, and calls written as text.

Rules (docs/models.md tells the user about them):

- A tag is held back while only its first characters have come; nothing depends on where a piece is
  cut.
- An opening tag of thinking counts at the start of a line, outside code. Unclosed: all of it is
  thinking.
- A closing one without an opening one, before a line end or right behind a word, outside code:
  everything so far was thinking. ``close_only`` says that the model is known for it; then its
  answers begin as thinking.
- A tool call written as text is held back until it is complete and counts only for a bound tool,
  outside code. One that cannot be read is an invalid call, if it names a bound tool; what turns out
  to be no call is given back as text.
- gpt-oss control tokens count only where the answer begins with them.
- What comes behind a token that ends the turn is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from core.models.wire.calls import NO_OBJECT, invalid_call, new_call_id, read_arguments
from core.models.wire.collector import Collector
from core.models.wire.dialects.base import Tools
from core.models.wire.dialects.grammar import GRAMMAR, MAX_RUN, Grammar, Kind, Words, words_of
from core.models.wire.dialects.harmony import (
    CALL_ENDS,
    FINAL,
    HEADS,
    MAX_HEADER,
    MESSAGE,
    STRIPPED,
    THOUGHT_ENDS,
    read_header,
)
from core.models.wire.held import Held
from core.models.wire.pieces import InvalidCall, ToolCall
from core.models.wire.visible import Visible

INDENT = re.compile(r"[^\S\n]*+")
END_OF_WORD = frozenset(".!?…:;)*")
"""Marks behind which a closing tag ends a thinking, as it does behind a letter or digit."""

Mode = Literal["text", "think", "call", "header", "addressed", "over"]


class Splitter:
    """Feed text in; visible text and thinking go to the collector, calls are in ``calls``.

    ``shown_call``: what seemed to be a call was given back as text.
    """

    def __init__(
        self,
        tools: Tools,
        out: Collector,
        *,
        close_only: bool = False,
        grammar: Grammar = GRAMMAR,
    ) -> None:
        self.calls: list[ToolCall] = []
        self.invalid: list[InvalidCall] = []
        self.unfinished_call = False
        self.shown_call = False
        self.saw_close_only = False
        self._tools = tools
        self._out = out
        self._shown = Visible(out)
        self._say = self._shown.say
        self._grammar = grammar
        self._special = grammar.special
        self._words = grammar.all if tools else grammar.plain
        self._held = Held()
        self._final = False
        self._mode: Mode = "think" if close_only else "text"
        self._assumed = close_only
        self._closing: Words = grammar.thought_ends
        self._fresh_thought = True
        self._thought = False
        self._undecided = True
        self._harmony = False
        self._opener = ""
        self._addressee = ""
        self._kinds: dict[Kind, Callable[[str], bool]] = {
            "think": self._open_think,
            "end of think": self._unopened,
            "harmony": self._control,
            "call": self._open_call,
            "end": self._end,
            "last": self._last,
            "noise": self._drop,
            "stray": self._stray,
        }
        self._steps: dict[Mode, Callable[[], bool]] = {
            "text": self._step_text,
            "think": self._step_think,
            "call": self._step_call,
            "header": self._step_header,
            "addressed": self._step_addressed,
            "over": self._step_over,
        }

    def native_reasoning(self) -> None:
        """The server tells thinking and text apart by itself, so text is text."""
        self._thought = True
        if self._assumed:
            self._assumed, self._mode = False, "text"

    def feed(self, text: str) -> None:
        """Add a piece of the model's text."""
        plain = self._mode == "text" and not self._shown.blank and not self._held
        if plain and self._special.search(text) is None:
            if self._shown.line_blank:
                self._say(text)
            else:
                self._out.text(text)
            return
        self._held.add(text)
        self._run()

    def finish(self, *, complete: bool) -> None:
        """The stream is over; ``complete``: the model ended it by itself."""
        self._final = True
        self._run()
        rest = self._held.rest()
        match self._mode:
            case "think" if self._assumed and complete:
                # A model known for </think> did not think this time: what it said is the answer.
                self._shown.blank = True
                self._say(self._out.thought)
            case "call":
                self._end_call(rest, "", complete=complete)
            case "addressed":
                self._call_addressee(rest, complete=complete)
            case _:
                pass

    def _run(self) -> None:
        """Take steps as far as they lead; each begins at the place of the held text and moves it
        on."""
        while self._held and self._steps[self._mode]():
            pass

    def _step_over(self) -> bool:
        self._held.rest()
        return False

    # ---- text

    def _step_text(self) -> bool:
        held = self._held
        if self._undecided and self._may_be_call():
            return self._mode != "text"
        match = self._words.pattern.search(held.text, held.at)
        if match is None:
            end = len(held.text) - (0 if self._final else self._begun(self._words))
            self._say(held.take(end - held.at))
            return False
        token, before = match.group(), match.start() - held.at
        if before:
            self._say(held.take(before))
        open_end = match.end() == len(held.text) and len(token) < MAX_RUN
        if open_end and not self._final and token[0] in "`~":
            return False
        return self._token(token)

    def _token(self, token: str) -> bool:
        """The next characters are this token."""
        if token.isspace():
            self._shown.end_line(self._held.take(len(token)))
            return True
        if token[0] in "`~":
            self._shown.mark(self._held.take(len(token)))
            return True
        if self._shown.in_code:
            self._say(self._held.take(len(token)))
            return True
        return self._kinds[self._grammar.kind(token)](token)

    def _drop(self, token: str) -> bool:
        self._held.take(len(token))
        return True

    def _end(self, token: str) -> bool:
        self._mode = "over"
        return True

    def _stray(self, token: str) -> bool:
        """The end of a call whose beginning the model forgot."""
        self._held.take(len(token))
        self._say("" if self.calls or "|" in token or "｜" in token else token)
        return True

    def _last(self, token: str) -> bool:
        """A token that ends an answer only right behind a word, where nothing follows: it may be
        meant as it stands."""
        follows = len(self._held.starts(len(token) + 1)) > len(token)
        if not follows and not self._final:
            return False
        self._held.take(len(token))
        if follows or self._shown.last.isspace():
            self._say(token)
        return True

    def _open_think(self, token: str) -> bool:
        word = self._held.take(len(token))
        if self._shown.line_blank:
            self._begin_think(words_of(self._grammar.end_of(token)))
        else:
            self._say(word)
        return True

    def _unopened(self, token: str) -> bool:
        following = self._held.starts(len(token) + 1)[len(token) :]
        if not following and not self._final:
            return False
        word, before = self._held.take(len(token)), self._shown.last
        behind_word = before.isalnum() or before in END_OF_WORD
        if self._shown.blank:
            pass
        elif self._thought or not (following in ("", "\n", "\r") or behind_word):
            self._say(word)
        else:
            self._shown.restart()
            self.saw_close_only = self._thought = True
        return True

    def _may_be_call(self) -> bool:
        """Hold back an answer that begins as a call of a bound tool, or may still."""
        held = self._held
        indent = INDENT.match(held.text, held.at)
        start = indent.end() if indent else held.at
        first = held.text[start : start + 1]
        if not self._shown.blank or first not in ("", "\n", "[", "{", "`", "a"):
            self._undecided = False
            return False
        if first in ("", "\n"):
            return False
        text = held.text[start : start + 2 * MAX_HEADER]
        if first == "a":
            return self._may_be_analysis(text)
        found = self._grammar.begins_call(text, self._tools) if self._tools else False
        if found:
            held.at = start
            self._shown.forget_indent()
            self._begin_call("")
            return True
        self._undecided = found is None
        return found is None and not self._final

    def _may_be_analysis(self, text: str) -> bool:
        """gpt-oss behind a server that removes control tokens and leaves the names of channels."""
        if STRIPPED.match(text):
            self._held.skip_space()
            self._held.take(len("analysis"))
            self._begin_think(words_of(*FINAL))
            self._assumed, self._fresh_thought = True, False
            return True
        self._undecided = "analysis".startswith(text)
        return self._undecided and not self._final

    def _begun(self, words: Words) -> int:
        """Length of the tail that may be the beginning of one of the words."""
        text = self._held.text
        if count := words.begun(text, self._held.at):
            return count
        return 2 if text.endswith("~~") else int(text.endswith("~"))

    # ---- thinking

    def _begin_think(self, closing: Words) -> None:
        self._mode, self._closing, self._fresh_thought = "think", closing, True

    def _step_think(self) -> bool:
        if self._fresh_thought and not self._begin_thought():
            return False
        held = self._held
        match = self._closing.pattern.search(held.text, held.at)
        if match is None:
            end = len(held.text) - (0 if self._final else self._begun(self._closing))
            self._out.reasoning(held.take(end - held.at))
            return False
        self._out.reasoning(held.take(match.start() - held.at))
        if match.group() not in HEADS:
            held.take(len(match.group()))
        self._mode, self._assumed, self._shown.line_blank = "text", False, True
        self._thought = True
        return True

    def _begin_thought(self) -> bool:
        """Drop blank space, and the opening tag that a close-only model writes after all."""
        held = self._held
        held.skip_space()
        words = self._grammar.thought_begins
        if self._assumed and (match := words.pattern.match(held.text, held.at)):
            self._assumed = False
            held.take(len(match.group()))
            self._begin_think(words_of(self._grammar.end_of(match.group())))
            held.skip_space()
        if not held:
            return False
        whole = len(held.text) - held.at
        undecided = self._assumed and not self._final and words.begun(held.text, held.at) == whole
        self._fresh_thought = undecided
        return not undecided

    # ---- calls written as text

    def _open_call(self, token: str) -> bool:
        self._held.take(len(token))
        self._begin_call(token)
        return True

    def _begin_call(self, opener: str) -> None:
        self._mode, self._opener = "call", opener
        self._closing = words_of(*self._grammar.closers(opener))

    def _step_call(self) -> bool:
        found = self._held.until(self._closing)
        if found is None:
            return False
        self._end_call(*found, complete=True)
        return True

    def _end_call(self, inner: str, closer: str, *, complete: bool) -> None:
        ended = self._grammar.kinds.get(closer) == "end"
        self._mode = "over" if ended else "text"
        block = self._opener + inner + ("" if ended else closer)
        if not complete:
            self.unfinished_call = any(name in block for name in self._tools)
            if not self.unfinished_call:
                self._say(block)
            return
        found = self._grammar.parse(self._opener, inner, self._tools)
        if found is None:
            self._say(block)
            # A whole answer in JSON may be meant as such, if it names no tool.
            self.shown_call = bool(self._opener) or any(name in inner for name in self._tools)
            return
        self.calls.extend(found.calls)
        self.invalid.extend(found.invalid)
        if found.rest.strip():
            self._say(found.rest)

    # ---- gpt-oss control tokens that the server let through

    def _control(self, token: str) -> bool:
        if not self._harmony and not (self._shown.blank and token in HEADS):
            # Phi ends its turns with one of them.
            return self._last(token)
        self._harmony = True
        if token in HEADS:
            self._mode = "header"
        else:
            self._held.take(len(token))
        return True

    def _step_header(self) -> bool:
        held = self._held
        end = held.at + MAX_HEADER + len(MESSAGE)
        at = held.text.find(MESSAGE, held.at, end)
        if at < 0:
            if len(held.text) > end:
                # No header is that long: the words were meant literally.
                self._mode, self._harmony = "text", False
                self._say(held.take(held.text.index("|>", held.at) + 2 - held.at))
                return True
            return False
        header = read_header(held.take(at - held.at), self._tools)
        held.take(len(MESSAGE))
        if header.tool:
            self._mode, self._addressee = "addressed", header.tool
            self._closing = words_of(*CALL_ENDS)
        elif header.thinking:
            self._begin_think(words_of(*THOUGHT_ENDS))
        else:
            self._mode, self._shown.line_blank = "text", True
        return True

    def _step_addressed(self) -> bool:
        found = self._held.until(self._closing)
        if found is None:
            return False
        self._call_addressee(found[0], complete=True)
        return True

    def _call_addressee(self, body: str, *, complete: bool) -> None:
        self._mode = "text"
        arguments = read_arguments(body)
        if not complete:
            self.unfinished_call = True
        elif arguments is None:
            self.invalid.append(invalid_call(self._addressee, body, NO_OBJECT))
        else:
            self.calls.append(ToolCall(new_call_id(), self._addressee, arguments))
