"""How a terminal, a pipe and a program see a conversation."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

import orjson

from api.commands.chat.client import Received
from core.conversations.answer import Answer, ToolCall
from core.events import (
    ApprovalRequested,
    ApprovalResolved,
    Event,
    MessageCompleted,
    Notice,
    ReasoningDelta,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    TurnStatus,
    Unknown,
)

DIM, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a model's text may not do to a terminal: move, recolour, rename, or turn the reading
direction."""

SHORT = 200
"""Characters of a tool's arguments and result that are shown."""


class Screen(Protocol):
    """Shows the events of the runs that were asked for."""

    def show(self, received: Received) -> None:
        """One event."""
        ...

    def say(self, text: str) -> None:
        """A word of the program itself."""
        ...


class JsonScreen:
    """One JSON object a line, as the API sends it; words of the program go to standard error."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, received: Received) -> None:
        """One event."""
        self._out.write(orjson.dumps(received.data).decode() + "\n")
        self._out.flush()

    def say(self, text: str) -> None:
        """A word of the program itself."""
        print(text, file=sys.stderr, flush=True)


class Pen:
    """Writes to one stream and knows whether it is at the beginning of a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._fresh = True

    def write(self, text: str, style: str = "") -> None:
        """Write text at once."""
        clean = CONTROL.sub("", text)
        if not clean:
            return
        self._out.write(f"{style}{clean}{PLAIN}" if style else clean)
        self._out.flush()
        self._fresh = clean.endswith("\n")

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line of its own."""
        self.fresh_line()
        if text:
            self.write(text + "\n", style)

    def fresh_line(self) -> None:
        """Go to the beginning of a line."""
        if not self._fresh:
            self.write("\n")


class TextScreen:
    """Answers on standard output. On a terminal also thinking, tools and notices, dimmed; else
    these go to standard error, so that a pipe gets the answers alone."""

    def __init__(self, out: TextIO, aside: TextIO) -> None:
        self._colour = out.isatty()
        self._answers = Pen(out)
        self._aside = self._answers if self._colour else Pen(aside)
        self._answer = Answer()
        self._thinking = False

    def say(self, text: str) -> None:
        """A word of the program itself."""
        self._aside.line(text, self._style(DIM))

    def show(self, received: Received) -> None:
        """One event."""
        event, answer = received.event, self._answer
        match event:
            case TextDelta(text):
                self._write(text, first=answer.completed or not answer.begun)
            case ReasoningDelta(text):
                self._think(text)
            case MessageCompleted(_, text):
                self._complete(text)
            case _:
                self._remark(event)
        answer.take(event)
        match event:
            case ToolFinished(call_id):
                self._tool(answer.tools[call_id])
            case TurnFinished(status):
                self._finish(status)
            case _:
                pass

    def _style(self, style: str) -> str:
        return style if self._colour else ""

    def _think(self, text: str) -> None:
        if not self._thinking:
            self._aside.fresh_line()
        self._thinking = True
        self._aside.write(text, self._style(DIM))

    def _write(self, text: str, *, first: bool) -> None:
        """A piece of an answer; the first one begins on a line of its own."""
        self._end_thinking()
        if first:
            self._answers.fresh_line()
            text = text.lstrip("\n")
        self._answers.write(text)

    def _end_thinking(self) -> None:
        if self._thinking:
            self._aside.line()
            self._thinking = False

    def _tool(self, call: ToolCall) -> None:
        started = call_line(call.name, call.arguments) if call.name else "a tool"
        self._aside.line(f"[{started} → {call.status}: {short(call.summary)}]", self._style(DIM))

    def _complete(self, text: str) -> None:
        """What is missing of the whole answer, should deltas have been lost with the journal."""
        shown = "" if self._answer.completed else self._answer.text
        if text != shown:
            rest = text.removeprefix(shown) if text.startswith(shown) else "\n" + text
            self._write(rest, first=not shown)
        self._end_thinking()
        self._answers.line()

    def _finish(self, status: TurnStatus) -> None:
        self._answers.line()
        self._answer, self._thinking = Answer(), False
        match status:
            case "cancelled":
                self.say("(stopped)")
            case "waiting":
                self.say("(waits for your decision: open the web page)")
            case _:
                pass

    def _remark(self, event: Event | Unknown) -> None:
        """What is told beside the text."""
        if not isinstance(event, TurnStarted | ToolStarted):
            self._end_thinking()
        match event:
            case TurnStarted(_, attempt):
                if self._answer.begun and attempt > 1:
                    self.say("(the answer begins anew)")
                self._thinking = False
            case Notice(level, text):
                self.say(f"({level}: {text})")
            case TurnFailed(_, detail):
                self._aside.line(f"error: {detail}", self._style(BOLD))
            case ApprovalRequested(_, _, name, arguments, why):
                self.say(f"({call_line(name, arguments)} needs your decision: {why})")
            case ApprovalResolved(_, decision):
                self.say(f"(decided: {decision})")
            case _:
                pass


def call_line(name: str, arguments: Mapping[str, Any]) -> str:
    """A tool call as it would be written in a program."""
    inside = ", ".join(
        f"{argument}={orjson.dumps(value).decode()}" for argument, value in arguments.items()
    )
    return f"{name}({short(inside)})"


def short(text: str) -> str:
    """One line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"
