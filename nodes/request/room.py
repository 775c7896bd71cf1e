"""How much of a conversation a request may hold, and what the server's answer says about that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from core.events import Usage
from core.models.errors import ModelError
from core.models.gateway import Gateway
from core.models.wire.pieces import ModelAnswer
from core.settings.groups import Settings

SHRINK = (0.7, 0.5, 0.4, 0.3, 0.3)
"""What is tried after each refusal of a request as too long, as a share of what was tried before:
in the end a hundredth, for a server with less than it says and a text that is all digits."""

REPLY_SHARE = 4
"""A quarter of the context at least is left for the answer."""

DENSEST = 8.0
"""Server's tokens per estimated one that are believed at most."""


@dataclass
class Room:
    """The context of one model call: ``limit`` in the server's tokens, ``size`` in estimated ones.

    ``density`` is what the server counted for this conversation last time, per estimated token:
    our estimate is off by a factor where a text is all digits, or in a rare script.
    """

    limit: int
    density: float = 1.0
    estimate: int = 0
    """Estimated tokens of the request under way, tools included."""

    _refused: int | None = None
    _named: bool = False
    _made_place: bool = False
    _shares: Iterator[float] = field(default_factory=lambda: iter(SHRINK))

    def __post_init__(self) -> None:
        self.size = int(self.limit / self.density)

    def reply(self, max_tokens: int | None) -> int:
        """Tokens that are left for the answer."""
        return max(self.size // REPLY_SHARE, min(max_tokens or 0, self.size // 2))

    def most(self, max_tokens: int | None) -> int | None:
        """The longest answer that is asked for: servers refuse what cannot fit beside the prompt.
        None: as the settings say."""
        too_many = max_tokens is not None and max_tokens > self.limit // 2
        return self.reply(max_tokens) if too_many else None

    def shrink(self, error: ModelError) -> bool:
        """Make do with less after a refusal; False: it was no such refusal, or nothing is left."""
        share = next(self._shares, None) if error.kind == "context_overflow" else None
        if share is None:
            return False
        self._refused = self.estimate
        if error.context_window:
            self._named = True
            self.limit = min(self.limit, error.context_window)
        if error.prompt_tokens and self.estimate:
            self.density = _bounded(max(self.density, error.prompt_tokens / self.estimate))
        self.size = min(int(self.limit / self.density), int(self.size * share))
        return True

    def make_place(self, answer: ModelAnswer, max_tokens: int | None) -> bool:
        """Once: ask for less of the conversation, because thinking filled all that the request had
        left. False: that was not the reason why nothing was said."""
        finish = answer.finish
        if self._made_place or finish is None or finish.reason != "length":
            return False
        if answer.text.strip() or answer.calls or answer.invalid:
            return False
        reached = max_tokens is not None and finish.usage.completion_tokens >= max_tokens
        if reached or self.estimate * 3 < self.size:
            return False
        self._made_place = True
        self.size //= 2
        return True

    async def learn(self, gateway: Gateway, settings: Settings, usage: Usage | None) -> None:
        """The request was answered: remember what that says of the conversation and the server."""
        counted = usage.prompt_tokens if usage is not None and not usage.estimated else 0
        measured = counted / self.estimate if counted and self.estimate else 1.0
        if counted:
            # The server adds something of its own, which says nothing where there is little else.
            small = counted * REPLY_SHARE < self.limit
            self.density = _bounded(min(measured, self.density) if small else measured)
        if self._refused is None or self._named:
            return
        if self._refused * measured < self.limit:
            # Not the estimate was wrong, but what is believed of the server.
            await gateway.context_refused(settings, max(counted, self.size))


def _bounded(density: float) -> float:
    return round(min(max(density, 1.0), DENSEST), 2)
