"""The closed union of events that a client can see.

A turn's events are written to the journal of its thread (see ``core.conversations.journal``); the
journal's entry id is the SSE event id. ``type`` names are part of the outer contract (docs/api.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, cast, get_args

import orjson

Choice = TypeVar("Choice", bound=str)
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

ToolStatus = Literal["ok", "error", "refused", "unknown"]
TurnStatus = Literal["completed", "failed", "cancelled", "waiting"]
NoticeLevel = Literal["info", "warning", "error"]

TOOL_STATUSES: tuple[ToolStatus, ...] = ("ok", "error", "refused", "unknown")
TURN_STATUSES: tuple[TurnStatus, ...] = ("completed", "failed", "cancelled", "waiting")
NOTICE_LEVELS: tuple[NoticeLevel, ...] = ("info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. ``estimated`` is true where the server sent no figures."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False


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
    """The turn pauses until the user decides."""

    type: ClassVar[str] = "approval_requested"
    approval_id: str
    call_id: str
    name: str
    arguments: dict[str, Any]
    why: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class ApprovalResolved:
    """The user decided."""

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


@dataclass(frozen=True, slots=True)
class ThreadDeleted:
    """The conversation is gone; the last that its readers hear. It is published only: the journal
    is gone with the thread."""

    type: ClassVar[str] = "thread_deleted"


@dataclass(frozen=True, slots=True)
class Reset:
    """To one reader: what it saw last is no longer in the journal; it must load the conversation
    again."""

    type: ClassVar[str] = "reset"


@dataclass(frozen=True, slots=True)
class ServerShutdown:
    """To one reader: this server stops; the stream goes on where it is opened again."""

    type: ClassVar[str] = "server_shutdown"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why messages are not answered. ``code`` is stable, ``detail`` says what to do."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """Whether messages are answered, in the stream of that; None: they are."""

    type: ClassVar[str] = "status"
    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event that this version cannot read: of a newer one, or damaged. Nobody writes it."""

    type: str
    fields: Mapping[str, Any]


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
    | ThreadDeleted
    | Reset
    | ServerShutdown
    | StatusChanged
)

EVENT_TYPES: tuple[type[Event], ...] = get_args(Event)

Fields = Mapping[str, Any]


def decode(kind: str, data: bytes) -> Event | Unknown:
    """The event that ``payload`` made the bytes of. Fields that this version does not know are
    passed over; what it cannot read is Unknown, so that no reader fails over a newer writer."""
    try:
        found: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        found = None
    return from_fields(kind, cast("Fields", found) if isinstance(found, dict) else {})


def from_fields(kind: str, given: Fields) -> Event | Unknown:
    """The event of a type with these fields, or Unknown."""
    read = READERS.get(kind)
    if read is not None:
        try:
            return read(given)
        except (KeyError, TypeError, ValueError):
            pass
    return Unknown(kind, given)


def _text(given: Fields, name: str) -> str:
    value = given[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _mapping(given: Fields, name: str) -> dict[str, Any]:
    value = given[name]
    if not isinstance(value, dict):
        raise TypeError(name)
    return cast("dict[str, Any]", value)


def _one_of(given: Fields, name: str, choices: tuple[Choice, ...]) -> Choice:
    value = given[name]
    return choices[choices.index(value)]


def _usage(given: Fields) -> Usage:
    return Usage(
        int(given.get("prompt_tokens", 0)),
        int(given.get("completion_tokens", 0)),
        bool(given.get("estimated", False)),
    )


def _trouble(given: Fields) -> Trouble | None:
    if given["trouble"] is None:
        return None
    trouble = _mapping(given, "trouble")
    return Trouble(_text(trouble, "code"), _text(trouble, "detail"))


READERS: Mapping[str, Callable[[Fields], Event]] = {
    TurnStarted.type: lambda f: TurnStarted(_text(f, "message_id"), int(f.get("attempt", 1))),
    ReasoningDelta.type: lambda f: ReasoningDelta(_text(f, "text")),
    TextDelta.type: lambda f: TextDelta(_text(f, "text")),
    ToolStarted.type: lambda f: ToolStarted(
        _text(f, "call_id"), _text(f, "name"), _mapping(f, "arguments")
    ),
    ToolFinished.type: lambda f: ToolFinished(
        _text(f, "call_id"), _one_of(f, "status", TOOL_STATUSES), _text(f, "summary")
    ),
    ApprovalRequested.type: lambda f: ApprovalRequested(
        _text(f, "approval_id"),
        _text(f, "call_id"),
        _text(f, "name"),
        _mapping(f, "arguments"),
        _text(f, "why"),
        _text(f, "expires_at"),
    ),
    ApprovalResolved.type: lambda f: ApprovalResolved(
        _text(f, "approval_id"), _text(f, "decision")
    ),
    MessageCompleted.type: lambda f: MessageCompleted(
        _text(f, "message_id"), _text(f, "text"), _usage(_mapping(f, "usage")), _text(f, "model")
    ),
    TurnFailed.type: lambda f: TurnFailed(
        _text(f, "code"), _text(f, "detail"), bool(f["retryable"])
    ),
    TurnFinished.type: lambda f: TurnFinished(_one_of(f, "status", TURN_STATUSES)),
    Notice.type: lambda f: Notice(_one_of(f, "level", NOTICE_LEVELS), _text(f, "text")),
    ThreadDeleted.type: lambda _: ThreadDeleted(),
    Reset.type: lambda _: Reset(),
    ServerShutdown.type: lambda _: ServerShutdown(),
    StatusChanged.type: lambda f: StatusChanged(_trouble(f)),
}
"""How each type is read; what is not listed here is not part of the contract."""


def payload(event: Event) -> bytes:
    """The event's own fields as one JSON object, without type, thread, run and time.

    Lone surrogates cannot be stored as UTF-8, so they become U+FFFD.
    """
    data = {f.name: getattr(event, f.name) for f in fields(event)}
    try:
        return orjson.dumps(data, default=repr)
    except orjson.JSONEncodeError:
        return orjson.dumps(_scrub(data), default=repr)


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
