"""The closed union of events that a turn emits, and what a channel hands in.

An event is written to the journal of its thread (see ``core.conversations.journal``); the
journal's entry id is the
SSE event id. ``type`` names are part of the outer contract (docs/api.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, TypeAlias, cast

import orjson

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

ToolStatus = Literal["ok", "error", "refused", "unknown"]
TurnStatus = Literal["completed", "failed", "cancelled", "waiting"]
NoticeLevel = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. ``estimated`` is true where the server sent no figures."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message on its way in. ``id`` dedupes within the thread for 25 hours.

    ``history`` are earlier messages (role, content) that a stateless client sends along;
    ``retry_of``
    is the id of the message that is tried again.
    """

    id: str
    user_id: str
    thread_id: str
    channel: str
    text: str
    autonomous: bool | None = None
    history: tuple[dict[str, Json], ...] = ()
    retry_of: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A worker took the message; ``attempt`` > 1 resets what was shown of this run."""

    type: ClassVar[str] = "turn_started"
    message_id: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's thinking."""

    type: ClassVar[str] = "reasoning_delta"
    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer."""

    type: ClassVar[str] = "text_delta"
    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool begins to run."""

    type: ClassVar[str] = "tool_started"
    call_id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """The real outcome of a tool call, whatever the model says of it."""

    type: ClassVar[str] = "tool_finished"
    call_id: str
    status: ToolStatus
    summary: str


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """The turn pauses until somebody decides."""

    type: ClassVar[str] = "approval_requested"
    approval_id: str
    call_id: str
    name: str
    arguments: dict[str, Any]
    why: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class ApprovalResolved:
    """Somebody decided."""

    type: ClassVar[str] = "approval_resolved"
    approval_id: str
    decision: str


@dataclass(frozen=True, slots=True)
class MessageCompleted:
    """One whole answer; ``text`` equals the text deltas since the previous one."""

    type: ClassVar[str] = "message_completed"
    message_id: str
    text: str
    usage: Usage
    model: str


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """The turn could not end well; ``detail`` says what to do."""

    type: ClassVar[str] = "turn_failed"
    code: str
    detail: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """Always the last event of a run."""

    type: ClassVar[str] = "turn_finished"
    status: TurnStatus


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should see while it lasts (model loads, cloud used, text shortened)."""

    type: ClassVar[str] = "notice"
    level: NoticeLevel
    text: str


Event = (
    TurnStarted
    | ReasoningDelta
    | TextDelta
    | ToolStarted
    | ToolFinished
    | ApprovalRequested
    | ApprovalResolved
    | MessageCompleted
    | TurnFailed
    | TurnFinished
    | Notice
)

EVENT_TYPES: tuple[type[Event], ...] = (
    TurnStarted,
    ReasoningDelta,
    TextDelta,
    ToolStarted,
    ToolFinished,
    ApprovalRequested,
    ApprovalResolved,
    MessageCompleted,
    TurnFailed,
    TurnFinished,
    Notice,
)


def payload(event: Event) -> bytes:
    """The event's own fields as one JSON object, without type, thread, run and time.

    Lone surrogates cannot be stored as UTF-8, so they become U+FFFD.
    """
    data = {f.name: getattr(event, f.name) for f in fields(event)}
    try:
        return orjson.dumps(data, default=_plain)
    except orjson.JSONEncodeError:
        return orjson.dumps(_scrub(data), default=_plain)


def _plain(value: object) -> Json:
    if isinstance(value, Usage):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return repr(value)


def scrub(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates become U+FFFD."""
    if not _has_surrogate(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)


def _scrub(value: Any) -> Any:
    match value:
        case str():
            return scrub(value)
        case dict():
            items = cast("dict[Any, Any]", value).items()
            return {_scrub(k if isinstance(k, str) else str(k)): _scrub(v) for k, v in items}
        case list() | tuple():
            return [_scrub(v) for v in cast("list[Any]", value)]
        case int() if not isinstance(value, bool) and abs(value) >= 2**63:
            return str(value)
        case _:
            return value
