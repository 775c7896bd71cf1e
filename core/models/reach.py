"""Whether the model answered when it was last asked; the calls themselves tell, at no cost."""

from __future__ import annotations

import time

from core.settings.groups import ModelSettings


class Reach:
    """When a model last answered, and when its server could not be reached (ms, 0: never)."""

    def __init__(self) -> None:
        self.answered = 0
        self._missed = 0
        self._missed_with: ModelSettings | None = None

    def note_answer(self) -> None:
        """Something came back."""
        self.answered = _now()

    def note_miss(self, model: ModelSettings) -> None:
        """Nobody was there, after all attempts with these settings."""
        self._missed, self._missed_with = _now(), model

    def missed(self, model: ModelSettings) -> int:
        """The last miss. One with other settings than now says nothing."""
        return self._missed if self._missed_with == model else 0


def _now() -> int:
    return int(time.time() * 1000)
