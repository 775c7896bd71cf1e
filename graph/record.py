"""What the transcript keeps of a turn: collected from its events as they pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from core.conversations.answer import Answer, ToolCall
from core.conversations.inbound import Decision, Message, Reminder
from core.conversations.transcript import pack_record
from core.engine.mailbox import Turn
from core.engine.turns import Ending
from core.events import Event
from nodes.request.shown import answer_id

MAX_REASONING = 50_000
"""Characters of thinking that the transcript keeps."""


class Record:
    """The answer as far as it has come. A partial answer is kept whatever happens."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._answer_to = _asked(turn)
        self._answer = Answer(MAX_REASONING)
        self.take = self._answer.take
        """Add one event."""

    def answers(self, message_id: str) -> None:
        """Say what a turn answers that did not begin with it."""
        self._answer_to = message_id

    def ending(self, events: Sequence[Event]) -> Ending:
        """The end of the turn with these last events."""
        for event in events:
            self.take(event)
        return Ending(events, self._records())

    def _records(self) -> list[bytes]:
        """The transcript's entries: the user's message (once) and the answer."""
        inbound = self._turn.inbound
        if isinstance(inbound, Decision) and self._answer_to == inbound.id:
            return []  # nothing waited for it
        entries = [pack_record(self._answer_record())]
        if isinstance(inbound, Message) and inbound.retry_of is None:
            entries.insert(0, pack_record(user_record(self._turn, inbound)))
        return entries

    def _answer_record(self) -> dict[str, Any]:
        answer = self._answer
        record: dict[str, Any] = {
            "id": answer_id(self._turn.run_id),
            "role": "assistant",
            "answer_to": self._answer_to,
            "run_id": self._turn.run_id,
            "text": answer.text,
            "tools": [self._tool(call) for call in answer.tools.values()],
            "created_at": datetime.now(UTC),
            "status": answer.status,
        }
        optional = {
            "kind": "reminder" if isinstance(self._turn.inbound, Reminder) else None,
            "reasoning": answer.reasoning,
            "model": answer.model,
            "error": answer.error and asdict(answer.error),
            "notices": [notice.text for notice in answer.notices if notice.level != "info"],
            "usage": answer.usage and asdict(answer.usage),
        }
        return record | {name: value for name, value in optional.items() if value}

    def _tool(self, call: ToolCall) -> dict[str, Any]:
        """A tool that was running when the turn was stopped has an unknown outcome; one that waits
        for a decision goes on running."""
        if call.status == "running" and self._answer.status != "waiting":
            return asdict(call) | {"status": "unknown", "summary": "stopped while it ran"}
        return asdict(call)


def _asked(turn: Turn) -> str:
    """Id of what the turn answers; several answers to one id are tries of the same."""
    inbound = turn.inbound
    return (isinstance(inbound, Message) and inbound.retry_of) or inbound.id


def user_record(turn: Turn, message: Message) -> dict[str, Any]:
    """The user's message as the transcript keeps it."""
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
