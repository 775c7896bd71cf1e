"""What a model call yields: small typed pieces, and ``ModelAnswer``, which adds them up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from core.events import NoticeLevel, Usage

FinishReason = Literal["stop", "tool_calls", "length", "truncated"]


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A piece of the visible answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningPiece:
    """A piece of the model's thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class ReclassifyPiece:
    """All text given so far in this answer was thinking; ``text`` repeats it.

    Comes at most once per model: a ``</think>`` without an opening tag is remembered.
    """

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete call; ``id`` is unique within the answer."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class InvalidCall:
    """A call whose arguments are no JSON object: tell the model ``error``, run nothing."""

    id: str
    name: str
    raw: str
    error: str


@dataclass(frozen=True, slots=True)
class ToolCallsPiece:
    """All calls of the answer at once, when the model has finished."""

    calls: tuple[ToolCall, ...]
    invalid: tuple[InvalidCall, ...] = ()


@dataclass(frozen=True, slots=True)
class UsagePiece:
    """Tokens of the call; comes once, also right before an error in the middle of an answer."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of the answer. ``truncated``: the server stopped without saying that it had
    finished."""

    reason: FinishReason
    usage: Usage
    model: str


@dataclass(frozen=True, slots=True)
class NoticePiece:
    """Something the user should see while it lasts."""

    level: NoticeLevel
    text: str


Piece: TypeAlias = (
    TextPiece
    | ReasoningPiece
    | ReclassifyPiece
    | ToolCallsPiece
    | UsagePiece
    | Finish
    | NoticePiece
)


@dataclass(slots=True)
class ModelAnswer:
    """The sum of the pieces of one call. Text is kept in parts and joined when it is asked for."""

    calls: tuple[ToolCall, ...] = ()
    invalid: tuple[InvalidCall, ...] = ()
    notices: list[NoticePiece] = field(default_factory=list[NoticePiece])
    usage: Usage | None = None
    finish: Finish | None = None
    _text: list[str] = field(default_factory=list[str])
    _reasoning: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """The visible answer."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The thinking."""
        return "".join(self._reasoning)

    def add(self, pieces: Iterable[Piece]) -> ModelAnswer:
        """Add what one network read brought; returns itself."""
        for piece in pieces:
            match piece:
                case TextPiece(text):
                    self._text.append(text)
                case ReasoningPiece(text):
                    self._reasoning.append(text)
                case ReclassifyPiece():
                    self._reasoning += self._text
                    self._text = []
                case ToolCallsPiece(calls, invalid):
                    self.calls, self.invalid = calls, invalid
                case UsagePiece(usage):
                    self.usage = usage
                case NoticePiece():
                    self.notices.append(piece)
                case Finish():
                    self.finish, self.usage = piece, piece.usage
        return self
