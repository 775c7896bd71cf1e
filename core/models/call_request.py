"""What a call is asked to do, how patient it is, and who answers when the local model cannot."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from core.models.errors import ModelError
from core.models.estimate import messages_tokens, tools_tokens
from core.models.wire.pieces import Piece
from core.settings.groups import Settings


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how long silence lasts before the user is told, what to wait after a finish reason
    for the usage, pauses while a model loads, and how often the user hears of the loading."""

    notice_after: float = 10
    finish_grace: float = 3
    backoff: tuple[float, ...] = (0.5, 1, 2, 4, 5)
    loading_notice_every: float = 30


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller wants."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None
    settings: Settings
    user_id: str
    thread_id: str
    tool_choice: str | None = None
    max_tokens: int | None = None
    response_format: Mapping[str, Any] | None = None

    def estimate(self) -> int:
        """Tokens of the prompt."""
        return messages_tokens(self.messages) + tools_tokens(self.tools)


class Fallback(Protocol):
    """The cloud, if the user switched it on."""

    async def start(
        self, request: Request, failed: ModelError
    ) -> AsyncGenerator[list[Piece]] | None:
        """The cloud's answer, or None when it may not or cannot be asked."""
        ...
