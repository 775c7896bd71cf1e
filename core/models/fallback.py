"""The cloud fallback: only when switched on, only before the first token, within a daily budget."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator
from typing import Any, Protocol, cast

from core.metrics import MODEL_ERRORS
from core.models import budget
from core.models.call_request import Request
from core.models.errors import ModelError
from core.models.wire.pieces import NoticePiece, Piece, UsagePiece
from core.store.redis import RedisClient

CLOUD_MODULE = "core.models.cloud"
LONGEST_ANSWER = 4096
"""Tokens of an answer that are set aside, and asked for, where the settings name no limit."""

LOCAL_ONLY = frozenset({"context_overflow"})
"""Failures that the caller avoids by asking for less: no reason to leave the machine."""


class CloudStream(Protocol):
    """Asks the cloud; ``core.models.cloud.stream_cloud``."""

    def __call__(self, request: Request, *, max_tokens: int) -> AsyncGenerator[list[Piece]]:
        """Pieces of the cloud's answer. Raises ModelError."""
        ...


class CloudFallback:
    """Decides whether the cloud may be asked, counts what it costs, labels what it says.

    LangChain and the openai package are loaded when the cloud is needed for the first time.
    """

    def __init__(self, redis: RedisClient, stream: CloudStream | None = None) -> None:
        self._redis = redis
        self._stream = stream

    async def start(
        self, request: Request, failed: ModelError
    ) -> AsyncGenerator[list[Piece]] | None:
        """The cloud's answer; None when it is off. Raises ModelError when the budget is spent."""
        cloud = request.settings.cloud
        if not cloud.enabled or cloud.daily_tokens <= 0 or failed.kind in LOCAL_ONLY:
            return None
        if not cloud.api_key.get_secret_value():
            raise _also(failed, "The cloud fallback has no key (cloud.api_key).")
        answer = request.max_tokens or request.settings.model.max_tokens or LONGEST_ANSWER
        reserved, day = request.estimate() + answer, budget.today()
        if not await budget.reserve(self._redis, day, reserved, cloud.daily_tokens):
            raise _also(failed, "The cloud fallback was not used: its budget of today is spent.")
        return self._run(request, failed, day=day, reserved=reserved, answer=answer)

    async def _run(
        self, request: Request, failed: ModelError, *, day: str, reserved: int, answer: int
    ) -> AsyncGenerator[list[Piece]]:
        used = reserved
        model = request.settings.cloud.model
        text = f"The local model failed ({failed.kind}); this answer comes from the cloud: {model}."
        try:
            yield [NoticePiece("warning", text)]
            stream = self._stream = self._stream or await _load()
            answered = False
            pieces_of_cloud = stream(request, max_tokens=answer)
            try:
                async for pieces in pieces_of_cloud:
                    answered = True
                    for piece in pieces:
                        if isinstance(piece, UsagePiece):
                            used = piece.usage.prompt_tokens + piece.usage.completion_tokens
                    yield pieces
            except ModelError as error:
                MODEL_ERRORS.labels("cloud", error.kind).inc()
                if answered:
                    raise
                used = 0
                raise _also(failed, f"The cloud fallback failed too: {error.detail}") from error
            finally:
                await pieces_of_cloud.aclose()
        finally:
            await budget.settle(self._redis, day, reserved, used)


async def _load() -> CloudStream:
    module: Any = await asyncio.to_thread(importlib.import_module, CLOUD_MODULE)
    return cast("CloudStream", module.stream_cloud)


def _also(failed: ModelError, more: str) -> ModelError:
    return ModelError(failed.kind, f"{failed.detail} {more}", parameter=failed.parameter)
