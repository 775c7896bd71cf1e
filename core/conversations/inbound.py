"""What comes in to a conversation: a user's message, a decision, a reminder that is due.

One codec serves the inbox, the worker that takes from it, and the list of what waits. A message is
stored under the keys it always had; the other kinds say which they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, cast, get_args

import orjson

from core.events import Json

Choice = Literal["approve", "refuse"]


@dataclass(frozen=True, slots=True)
class Head:
    """What all kinds have. ``id`` dedupes within the thread for 25 hours; ``channel`` is where it
    came from."""

    id: str
    user_id: str
    thread_id: str
    channel: str
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC), kw_only=True)


@dataclass(frozen=True, slots=True)
class Message(Head):
    """The user's words.

    ``history`` are earlier messages (role, content) that a stateless client sends along;
    ``retry_of`` is the id of the message that is tried again.
    """

    text: str
    autonomous: bool | None = None
    history: tuple[dict[str, Json], ...] = ()
    retry_of: str | None = None


@dataclass(frozen=True, slots=True)
class Decision(Head):
    """The answer to an approval that a turn waits for. ``arguments`` are those to use instead of
    what the model wanted; ``reason`` is for the model."""

    approval_id: str
    choice: Choice
    arguments: dict[str, Any] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reminder(Head):
    """What the user asked to be told at a time. The words are the assistant's."""

    task_id: str
    text: str
    due: datetime


@dataclass(frozen=True, slots=True)
class Unreadable(Head):
    """What this version cannot read: of a newer one, or damaged. Nobody sends it."""

    why: str


Inbound: TypeAlias = Message | Decision | Reminder
Stored: TypeAlias = Inbound | Unreadable

Fields: TypeAlias = Mapping[str, Any]


def encode(inbound: Inbound) -> bytes:
    """What the inbox stores, beside the id and the run."""
    data: dict[str, Any] = {"c": inbound.channel, "at": inbound.created_at}
    optional: dict[str, Any] = {}
    match inbound:
        case Message():
            data = {"c": inbound.channel, "x": inbound.text, "at": inbound.created_at}
            optional = {
                "a": inbound.autonomous,
                "h": inbound.history or None,
                "r": inbound.retry_of,
            }
        case Decision():
            data |= {"k": "decision", "d": inbound.choice, "ap": inbound.approval_id}
            optional = {"e": inbound.arguments, "w": inbound.reason or None}
        case Reminder():
            data |= {"k": "reminder", "t": inbound.task_id, "x": inbound.text, "due": inbound.due}
    return orjson.dumps(data | {key: value for key, value in optional.items() if value is not None})


def decode(body: bytes, *, message_id: str, thread_id: str, user_id: str = "") -> Stored:
    """What was stored; Unreadable where that cannot be told. ``user_id`` is not stored with it."""
    data: Fields = {}
    try:
        data = cast("Fields", orjson.loads(body))
        kind = data.get("k", "message")
        if kind not in KINDS:
            raise ValueError(f"of a kind that this version does not know ({kind!r:.40})")
        at = datetime.fromisoformat(data["at"])
        return KINDS[kind](Head(message_id, user_id, thread_id, data["c"], created_at=at), data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{error}" if isinstance(error, ValueError) else f"damaged ({error!r:.80})"
        return Unreadable(message_id, user_id, thread_id, "?", f"it is {why}")


def _message(head: Head, data: Fields) -> Message:
    return Message(
        head.id,
        head.user_id,
        head.thread_id,
        head.channel,
        data["x"],
        data.get("a"),
        tuple(data.get("h", ())),
        data.get("r"),
        created_at=head.created_at,
    )


def _decision(head: Head, data: Fields) -> Decision:
    if data["d"] not in get_args(Choice):
        raise ValueError(f"a decision that this version does not know ({data['d']!r:.40})")
    return Decision(
        head.id,
        head.user_id,
        head.thread_id,
        head.channel,
        data["ap"],
        data["d"],
        data.get("e"),
        data.get("w", ""),
        created_at=head.created_at,
    )


def _reminder(head: Head, data: Fields) -> Reminder:
    return Reminder(
        head.id,
        head.user_id,
        head.thread_id,
        head.channel,
        data["t"],
        data["x"],
        datetime.fromisoformat(data["due"]),
        created_at=head.created_at,
    )


KINDS: Mapping[str, Callable[[Head, Fields], Inbound]] = {
    "message": _message,
    "decision": _decision,
    "reminder": _reminder,
}
"""How each stored kind is read."""
