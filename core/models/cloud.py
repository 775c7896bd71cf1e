"""Asks the cloud through ChatOpenAI. Loaded by ``core.models.fallback`` when it is first needed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import openai
import orjson
from langchain_core.messages import AIMessageChunk, convert_to_messages
from langchain_openai import ChatOpenAI

from core.events import Usage
from core.models.call_request import Request
from core.models.errors import ModelError, classify
from core.models.estimate import text_tokens
from core.models.history import flatten, normalise
from core.models.servers.capabilities import DEFAULT
from core.models.wire.calls import TOO_MANY, CallAssembler
from core.models.wire.chunks import MAX_ANSWER
from core.models.wire.pieces import (
    Finish,
    FinishReason,
    Piece,
    ReasoningPiece,
    TextPiece,
    UsagePiece,
)

TIMEOUT_SECONDS = 60


async def stream_cloud(request: Request, *, max_tokens: int) -> AsyncGenerator[list[Piece]]:
    """Pieces of the cloud's answer; ``Finish.model`` is ``cloud:<model>``. Raises ModelError."""
    secret = request.settings.cloud.api_key.get_secret_value()
    messages = convert_to_messages(normalise(request.messages, DEFAULT))
    answer = _CloudAnswer(request)
    chunks = _model(request, max_tokens).astream(messages)
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                if pieces := answer.add(cast("AIMessageChunk", chunk)):
                    yield pieces
    except openai.APIStatusError as error:
        raise classify(error.status_code, _body(error), secrets=(secret,)) from error
    except openai.APITimeoutError as error:
        raise ModelError("stalled", f"The cloud sent nothing for {TIMEOUT_SECONDS} s.") from error
    except openai.APIConnectionError as error:
        raise ModelError(
            "unreachable", "The cloud cannot be reached. Check cloud.base_url."
        ) from error
    except openai.APIError as error:
        raise classify(200, _body(error), secrets=(secret,)) from error
    except (openai.OpenAIError, ValueError) as error:
        raise ModelError("garbage", "The cloud's answer cannot be read.") from error
    yield answer.end()


def _model(request: Request, max_tokens: int) -> Any:
    cloud = request.settings.cloud
    model = ChatOpenAI(
        model=cloud.model,
        api_key=cloud.api_key,
        base_url=cloud.base_url,
        max_retries=0,
        # It wraps each chunk in asyncio.wait_for, which swallows a cancel now and then on Python
        # 3.11; the client's own timeout watches over silence.
        stream_chunk_timeout=None,
        timeout=TIMEOUT_SECONDS,
        stream_usage=True,
        use_responses_api=False,
        max_completion_tokens=max_tokens,
    )
    if not request.tools or request.tool_choice == "none":
        return model
    return model.bind_tools(
        [dict(tool) for tool in request.tools], tool_choice=request.tool_choice or "auto"
    )


def _body(error: openai.APIError) -> str:
    """openai keeps the server's words out of ``str(error)``."""
    return orjson.dumps({"error": error.body or str(error)}, default=str).decode()


class _CloudAnswer:
    """Adds up the chunks; ChatOpenAI repairs half tool calls, so their raw text is read here."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._calls = CallAssembler()
        self._finish = ""
        self._usage: Usage | None = None
        self._written = 0
        self._size = 0

    def add(self, chunk: AIMessageChunk) -> list[Piece]:
        """Pieces of one chunk. Raises ModelError where the answer is longer than any."""
        self._calls.add(
            {
                "id": part.get("id"),
                "index": part.get("index"),
                "function": {"name": part.get("name"), "arguments": part.get("args")},
            }
            for part in chunk.tool_call_chunks
        )
        if self._calls.too_many:
            raise ModelError("truncated", TOO_MANY)
        if chunk.usage_metadata:
            counts = chunk.usage_metadata
            self._usage = Usage(counts["input_tokens"], counts["output_tokens"])
        metadata = cast("dict[str, Any]", chunk.response_metadata)
        self._finish = metadata.get("finish_reason") or self._finish
        pieces: list[TextPiece | ReasoningPiece] = []
        thought = cast("dict[str, Any]", chunk.additional_kwargs).get("reasoning_content")
        if isinstance(thought, str) and thought:
            pieces.append(ReasoningPiece(thought))
        if text := flatten(cast("Any", chunk.content)):
            self._written += text_tokens(text)
            pieces.append(TextPiece(text))
        self._size += sum(len(piece.text) for piece in pieces)
        if self._size + self._calls.size > MAX_ANSWER:
            raise ModelError("truncated", "The cloud's answer did not come to an end.")
        return [*pieces]

    def end(self) -> list[Piece]:
        """The last pieces. Raises ModelError(truncated) for half a tool call."""
        complete = self._finish not in ("", "length")
        pieces: list[Piece] = []
        reason: FinishReason = "stop"
        if not complete:
            reason = "length" if self._finish else "truncated"
        if self._calls:
            if not complete:
                raise ModelError("truncated", "The cloud's answer was cut off within a tool call.")
            reason = "tool_calls"
            pieces.append(self._calls.result())
        usage = self._usage or Usage(self._request.estimate(), self._written, estimated=True)
        model = f"cloud:{self._request.settings.cloud.model}"
        return [*pieces, UsagePiece(usage), Finish(reason, usage, model)]
