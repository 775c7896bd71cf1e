"""Measures one call of a model: metrics and its span."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from core import metrics
from core.models.call import Call
from core.models.errors import ModelError
from core.models.spans import describe_call
from core.models.wire.pieces import Finish, NoticePiece, Piece
from core.settings.groups import Settings
from core.telemetry import tracing


class CallMeter:
    """Measures one call of a model; the block is the call."""

    def __init__(self, call: Call, settings: Settings, thread_id: str) -> None:
        self._call = call
        self._started = time.perf_counter()
        self._first = 0.0
        self._finish: Finish | None = None
        self._span = tracing.model_span(settings, thread_id)

    def take(self, pieces: Sequence[Piece]) -> None:
        """Pieces that are handed on."""
        if not self._first and not all(isinstance(piece, NoticePiece) for piece in pieces):
            self._first = time.perf_counter() - self._started
            metrics.MODEL_FIRST_PIECE.observe(self._first)
        last = pieces[-1]
        if isinstance(last, Finish):
            self._finish = last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        place: metrics.Place = "cloud" if self._call.in_cloud else "local"
        outcome = _outcome(error)
        if outcome == "error":
            tracing.fail(self._span, error.code if isinstance(error, ModelError) else "other")
        seconds = time.perf_counter() - self._started
        metrics.MODEL_SECONDS.labels(place, outcome).observe(seconds)
        if (usage := self._call.usage) is not None:
            metrics.MODEL_TOKENS.labels(place, "input").inc(usage.prompt_tokens)
            metrics.MODEL_TOKENS.labels(place, "output").inc(usage.completion_tokens)
        if self._finish is not None:
            cloud = self._call.in_cloud
            describe_call(self._span, self._finish, cloud=cloud, seconds_to_first=self._first)
        self._span.end()


def _outcome(error: BaseException | None) -> metrics.Outcome:
    if error is None:
        return "ok"
    return "error" if isinstance(error, Exception) else "cancelled"
