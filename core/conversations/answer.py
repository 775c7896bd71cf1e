"""The one fold of events: the answer of a run, as far as it has come.

What the transcript keeps, what an OpenAI client gets and what a terminal shows are all made of it,
so that they cannot come apart.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Literal

from core.events import (
    Event,
    MessageCompleted,
    Notice,
    ReasoningDelta,
    TextDelta,
    ThreadDeleted,
    ToolFinished,
    ToolStarted,
    ToolStatus,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    TurnStatus,
    Unknown,
    Usage,
)

BETWEEN = "\n\n"
"""Stands between two answers of one run where they are read as one text."""

DELETED = TurnFailed("thread_deleted", "the conversation was deleted meanwhile", retryable=False)


class Words:
    """Text that grows by pieces, at a cost that does not grow with it; over the limit it stays."""

    def __init__(self, limit: int = sys.maxsize) -> None:
        self._limit = limit
        self._length = 0
        self._out = StringIO()

    def __str__(self) -> str:
        return self._out.getvalue()

    def __bool__(self) -> bool:
        return self._length > 0

    def add(self, piece: str) -> None:
        """One piece more."""
        if self._length < self._limit:
            piece = piece[: self._limit - self._length]
            self._length += len(piece)
            self._out.write(piece)

    def become(self, text: str) -> None:
        """Another text."""
        self._length, self._out = 0, StringIO()
        self.add(text)


@dataclass(slots=True)
class ToolCall:
    """A tool call of the run; ``running`` until its outcome is told."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    status: ToolStatus | Literal["running"] = "running"
    summary: str = ""


@dataclass(slots=True)
class Answer:
    """Feed it all events of one run in their order; read from it at any time.

    ``text`` is the newest answer of the run (an autonomous turn gives several), ``earlier`` those
    before it. ``status`` is None until the run ends. ``max_reasoning`` bounds the thinking that is
    kept, in characters.
    """

    max_reasoning: int = sys.maxsize
    earlier: list[str] = field(default_factory=list[str])
    tools: dict[str, ToolCall] = field(default_factory=dict[str, ToolCall])
    usage: Usage | None = None
    model: str = ""
    notices: list[Notice] = field(default_factory=list[Notice])
    status: TurnStatus | None = None
    error: TurnFailed | None = None
    completed: bool = False
    """The newest answer is whole: text that comes now begins another one."""

    _text: Words = field(default_factory=Words)
    _reasoning: Words = field(init=False)

    def __post_init__(self) -> None:
        self._reasoning = Words(self.max_reasoning)

    @property
    def text(self) -> str:
        """The newest answer."""
        return str(self._text)

    @property
    def reasoning(self) -> str:
        """The thinking of the whole run."""
        return str(self._reasoning)

    @property
    def begun(self) -> bool:
        """Whether there is text of the newest answer."""
        return bool(self._text)

    @property
    def whole(self) -> str:
        """All answers of the run as one text."""
        return BETWEEN.join([*self.earlier, self.text])

    def take(self, event: Event | Unknown) -> None:
        """Add one event."""
        match event:
            case TextDelta(text):
                if self.completed:
                    self._next_answer()
                self._text.add(text)
            case ReasoningDelta(text):
                self._reasoning.add(text)
            case ToolStarted(call_id, name, arguments):
                self.tools[call_id] = ToolCall(call_id, name, arguments)
            case ToolFinished():
                self._tool_ended(event)
            case MessageCompleted():
                self._complete(event)
            case TurnStarted():
                self._restart()
            case _:
                self._aside(event)

    def _aside(self, event: Event | Unknown) -> None:
        """What is told beside the text."""
        match event:
            case Notice():
                self.notices.append(event)
            case TurnFailed():
                self.error = event
            case ThreadDeleted():
                self.error = DELETED
            case TurnFinished(status):
                self.status = status
            case _:
                pass

    def _next_answer(self) -> None:
        self.earlier.append(self.text)
        self._text.become("")
        self.completed = False

    def _complete(self, event: MessageCompleted) -> None:
        """Its text is the truth, should pieces have been lost."""
        if self.completed:
            self._next_answer()
        if event.text != self.text:
            self._text.become(event.text)
        self.usage, self.model, self.completed = event.usage, event.model, True

    def _tool_ended(self, event: ToolFinished) -> None:
        call = self.tools.setdefault(event.call_id, ToolCall(event.call_id, "", {}))
        call.status, call.summary = event.status, event.summary

    def _restart(self) -> None:
        """Another attempt: it says again what it keeps of the one before. Notices stay, they are
        told once."""
        self.earlier.clear()
        self.tools.clear()
        self._text.become("")
        self._reasoning.become("")
        self.completed, self.status, self.error = False, None, None
