"""How a terminal, a pipe and a program see a conversation."""

from __future__ import annotations

import re
import sys
from typing import Any, Protocol, TextIO

import orjson

DIM, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a model's text may not do to a terminal: move, recolour, rename, or turn the reading
direction."""

SHORT = 200
"""Characters of a tool's arguments and result that are shown."""


class Screen(Protocol):
    """Shows the events of the runs that were asked for."""

    def show(self, data: dict[str, Any]) -> None:
        """One event."""
        ...

    def say(self, text: str) -> None:
        """A word of the program itself."""
        ...


class JsonScreen:
    """One JSON object a line, as the API sends it; words of the program go to standard error."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, data: dict[str, Any]) -> None:
        """One event."""
        self._out.write(orjson.dumps(data).decode() + "\n")
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
        self._text = ""
        self._completed = False
        self._thinking = False
        self._tools: dict[str, str] = {}

    def say(self, text: str) -> None:
        """A word of the program itself."""
        self._aside.line(text, self._style(DIM))

    def show(self, data: dict[str, Any]) -> None:
        """One event."""
        match data.get("type"):
            case "turn_started":
                self._restart(int(data.get("attempt") or 1))
            case "reasoning_delta":
                self._think(str(data["text"]))
            case "text_delta":
                self._answer(str(data["text"]))
            case "tool_started":
                self._tools[str(data["call_id"])] = call_line(data)
            case "tool_finished":
                self._tool(data)
            case "message_completed":
                self._complete(str(data["text"]))
            case "turn_finished":
                self._finish(str(data["status"]))
            case _:
                self._remark(data)

    def _style(self, style: str) -> str:
        return style if self._colour else ""

    def _restart(self, attempt: int) -> None:
        if self._text and attempt > 1:
            self.say("(the answer begins anew)")
        self._text, self._completed, self._thinking = "", False, False

    def _think(self, text: str) -> None:
        if not self._thinking:
            self._aside.fresh_line()
        self._thinking = True
        self._aside.write(text, self._style(DIM))

    def _answer(self, text: str) -> None:
        self._end_thinking()
        if self._completed:
            self._text, self._completed = "", False
        if not self._text:
            self._answers.fresh_line()
            self._text, text = text, text.lstrip("\n")
        else:
            self._text += text
        self._answers.write(text)

    def _end_thinking(self) -> None:
        if self._thinking:
            self._aside.line()
            self._thinking = False

    def _tool(self, data: dict[str, Any]) -> None:
        self._end_thinking()
        started = self._tools.pop(str(data["call_id"]), "a tool")
        result = short(str(data.get("summary") or ""))
        self._aside.line(f"[{started} → {data['status']}: {result}]", self._style(DIM))

    def _complete(self, text: str) -> None:
        """What is missing of the whole answer, should deltas have been lost with the journal."""
        if text != self._text:
            rest = text.removeprefix(self._text) if text.startswith(self._text) else "\n" + text
            self._answer(rest)
        self._completed = True
        self._answers.line()

    def _finish(self, status: str) -> None:
        self._end_thinking()
        self._answers.line()
        self._text, self._completed = "", False
        words = {
            "cancelled": "(stopped)",
            "waiting": "(waits for your decision: open the web page)",
        }
        if status in words:
            self.say(words[status])

    def _remark(self, data: dict[str, Any]) -> None:
        self._end_thinking()
        match data.get("type"):
            case "notice":
                self.say(f"({data['level']}: {data['text']})")
            case "turn_failed":
                self._aside.line(f"error: {data['detail']}", self._style(BOLD))
            case "approval_requested":
                self.say(f"({call_line(data)} needs your decision: {data['why']})")
            case "approval_resolved":
                self.say(f"(decided: {data['decision']})")
            case _:
                pass


def call_line(data: dict[str, Any]) -> str:
    """A tool call as it would be written in a program."""
    arguments: dict[str, Any] = data.get("arguments") or {}
    inside = ", ".join(
        f"{name}={orjson.dumps(value).decode()}" for name, value in arguments.items()
    )
    return f"{data['name']}({short(inside)})"


def short(text: str) -> str:
    """One line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"
