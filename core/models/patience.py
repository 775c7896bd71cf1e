"""How long a call waits, and what the user hears meanwhile."""

from __future__ import annotations

import asyncio

from core.models.call_request import Timing
from core.models.errors import ErrorKind, ModelError
from core.models.wire.pieces import NoticePiece, Piece
from core.settings.groups import ModelSettings

WAITS: dict[ErrorKind, str] = {
    "loading": "The model is loading …",
    "busy": "The model server is busy …",
}
"""Failures that pass by themselves, and what is said meanwhile."""


class Patience:
    """The clocks of one call."""

    def __init__(self, model: ModelSettings, timing: Timing) -> None:
        self._model = model
        self._timing = timing
        self._now = asyncio.get_running_loop().time
        self._heard_at = 0.0
        self._chunk_at = 0.0
        self._tell_at = 0.0
        self._tell_every = timing.notice_after
        self._waiting_since: float | None = None
        self._wait_told = 0.0
        self._tries = 0

    # ---- silence

    def heard(self, *, chunk: bool) -> None:
        """Something came; comments of the server are signs of life, but no chunk."""
        self._heard_at = self._now()
        if chunk:
            self.begin()

    def begin(self) -> None:
        """From now on it is silent."""
        self._heard_at = self._chunk_at = self._now()
        self._tell_every = self._timing.notice_after
        self._tell_at = self._heard_at + self._tell_every

    def next_wait(self, limit: float) -> float:
        """Seconds to wait until something is to be said or done."""
        return max(0.001, min(self._tell_at, self._heard_at + limit) - self._now())

    def is_over(self, limit: float) -> bool:
        """Whether it has been silent for so many seconds."""
        return self._now() - self._heard_at >= limit

    def silence(self, limit: float) -> list[Piece]:
        """Nothing came for a while: tell the user, more and more rarely, or give up.

        Raises ModelError(stalled).
        """
        now = self._now()
        if self.is_over(limit):
            raise ModelError(
                "stalled",
                f"The model sent nothing for {limit:g} s. Look at the model server, then try "
                "again.",
            )
        if now < self._tell_at:
            return []
        self._tell_every *= 2
        self._tell_at = now + self._tell_every
        seconds = now - self._chunk_at
        return [NoticePiece("info", f"Still waiting for the model … ({seconds:.0f} s)")]

    # ---- a server that says "later"

    async def pause(self) -> None:
        """Before asking again a server that is loading or busy."""
        if self._tries:
            pauses = self._timing.backoff
            await asyncio.sleep(pauses[min(self._tries, len(pauses)) - 1])
            self.begin()

    def wait_for(self, kind: ErrorKind) -> list[Piece] | None:
        """What to say while the server is loading or busy; None: it has been for too long."""
        now = self._now()
        if self._waiting_since is None:
            self._waiting_since, self._wait_told = now, float("-inf")
        waited = now - self._waiting_since
        if waited >= self._model.loading_timeout:
            return None
        self._tries += 1
        if now - self._wait_told < self._timing.loading_notice_every:
            return []
        self._wait_told = now
        since = f" ({waited:.0f} s)" if waited >= 1 else ""
        return [NoticePiece("info", f"{WAITS[kind]}{since}")]
