"""What the transcript keeps of a turn: collected from its events as they pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from core.conversations.transcript import pack_record
from core.engine.mailbox import Turn
from core.events import (
    Event,
    MessageCompleted,
    Notice,
    ReasoningDelta,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnStarted,
    Usage,
)
from nodes.request.shown import answer_id

MAX_REASONING = 50_000
"""Characters of thinking that the transcript keeps."""


@dataclass
class Record:
    """The answer as far as it has come. A partial answer is kept whatever happens."""

    turn: Turn
    text: str = ""
    reasoning: str = ""
    tools: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    usage: Usage | None = None
    model: str = ""
    notices: list[str] = field(default_factory=list[str])
    _completed: bool = False

    def take(self, event: Event) -> None:
        """Add one event."""
        match event:
            case TextDelta(text):
                self._add_text(text)
            case ReasoningDelta(text):
                self.reasoning = (self.reasoning + text)[:MAX_REASONING]
            case ToolStarted(call_id, name, arguments):
                self.tools[call_id] = {
                    "call_id": call_id,
                    "name": name,
                    "arguments": arguments,
                    "status": "running",
                }
            case ToolFinished(call_id, status, summary):
                self.tools[call_id] |= {"status": status, "summary": summary}
            case MessageCompleted():
                self.text, self.usage, self.model = event.text, event.usage, event.model
                self._completed = True
            case Notice(level, text) if level != "info":
                self.notices.append(text)
            case TurnStarted():
                self.text = self.reasoning = ""
                self.tools.clear()
            case _:
                pass

    def _add_text(self, text: str) -> None:
        if self._completed:
            self.text, self._completed = "", False
        self.text += text

    def records(self, status: str, error: dict[str, Any] | None = None) -> list[bytes]:
        """The transcript's entries: the user's message (once) and the answer."""
        message = self.turn.message
        answer: dict[str, Any] = {
            "id": answer_id(self.turn.run_id),
            "role": "assistant",
            "answer_to": message.retry_of or message.id,
            "run_id": self.turn.run_id,
            "text": self.text,
            "tools": [_ended(tool) for tool in self.tools.values()],
            "created_at": datetime.now(UTC),
            "status": status,
        }
        optional = {
            "reasoning": self.reasoning,
            "model": self.model,
            "error": error,
            "notices": self.notices,
        }
        answer |= {name: value for name, value in optional.items() if value}
        if self.usage is not None:
            answer["usage"] = {
                "prompt_tokens": self.usage.prompt_tokens,
                "completion_tokens": self.usage.completion_tokens,
                "estimated": self.usage.estimated,
            }
        entries = [pack_record(answer)]
        if message.retry_of is None:
            entries.insert(0, pack_record(user_record(self.turn)))
        return entries


def _ended(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool that was running when the turn was stopped has an unknown outcome."""
    if tool["status"] == "running":
        return {**tool, "status": "unknown", "summary": "stopped while it ran"}
    return tool


def user_record(turn: Turn) -> dict[str, Any]:
    """The user's message as the transcript keeps it."""
    message = turn.message
    return {
        "id": message.id,
        "role": "user",
        "text": message.text,
        "tools": [],
        "created_at": message.created_at,
        "status": "completed",
        "run_id": turn.run_id,
        "channel": message.channel,
    }
