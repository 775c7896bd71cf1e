"""The OpenAI face: what goes out. Journal entries become chunks, or one completion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from api.openai.bodies import MODEL_ID
from core.conversations.answer import BETWEEN, Answer
from core.conversations.journal import Entry
from core.errors import AssistantError
from core.events import ReasoningDelta, TextDelta, TurnStarted, Usage

STATUS = {
    "context_overflow": 400,
    "inbox_full": 429,
    "unreachable": 502,
    "loading": 503,
    "timeout": 504,
    "interrupted": 503,
    "thread_deleted": 410,
    "waiting": 409,
}
"""HTTP status by failure; others are 500."""

CODES = {"context_overflow": "context_length_exceeded"}
"""Our failure → the code that OpenAI clients know."""

DONE = b"data: [DONE]\n\n"


class TurnError(AssistantError):
    """The turn failed; the OpenAI face answers with this."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail, code=CODES.get(code, code))
        self.status = STATUS.get(code, 500)


@dataclass
class Told:
    """What of a growing text is new to a client, which cannot be told to forget: what a resumed
    turn repeats is not sent again, and where the new text differs it begins after a blank line."""

    _sent: str | None = None
    """What the client had when the text began anew; None: it is level with the text."""

    def restart(self, had: str) -> None:
        """A new attempt begins."""
        if self._sent is None and had:
            self._sent = had

    def new(self, piece: str, whole: Callable[[], str]) -> str:
        """What to send for a piece; ``whole`` gives the text with it."""
        if self._sent is None:
            return piece
        sent, text = self._sent, whole()
        if sent.startswith(text):
            return ""
        self._sent = None
        return text[len(sent) :] if text.startswith(sent) else BETWEEN + text


@dataclass
class Encoder:
    """Chunks of one completion, and its sum."""

    id: str
    created: int
    answer: Answer = field(default_factory=Answer)
    _text: Told = field(default_factory=Told)
    _reasoning: Told = field(default_factory=Told)

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self.answer.status is not None

    def take(self, entry: Entry) -> dict[str, Any] | None:
        """The delta that an entry means to a client, None when it means nothing to it."""
        event, answer = entry.event, self.answer
        if isinstance(event, TurnStarted):
            self._text.restart(answer.whole)
            self._reasoning.restart(answer.reasoning)
        another = answer.completed
        answer.take(event)
        match event:
            case TextDelta(text):
                piece = BETWEEN + text if another else text
                new = self._text.new(piece, lambda: answer.whole)
                return {"content": new} if new else None
            case ReasoningDelta(text):
                new = self._reasoning.new(text, lambda: answer.reasoning)
                return {"reasoning_content": new, "reasoning": new} if new else None
            case _:
                return None

    def chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        """One chunk as an SSE frame."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._frame({"choices": [choice]})

    def usage_chunk(self) -> bytes:
        """The chunk with the usage and no choice, as `stream_options.include_usage` asks for."""
        return self._frame({"choices": [], "usage": _usage(self.answer.usage)})

    def _frame(self, rest: dict[str, Any]) -> bytes:
        head = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": MODEL_ID,
        }
        return b"data: " + orjson.dumps({**head, **rest}) + b"\n\n"

    def error_frame(self) -> bytes:
        """A failure in the middle of a stream."""
        failure = self._failure() or self._why_not_ended()
        error = {
            "message": failure.detail,
            "type": "server_error",
            "param": None,
            "code": failure.code,
        }
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"

    def _failure(self) -> TurnError | None:
        error = self.answer.error
        return TurnError(error.code, error.detail) if error is not None else None

    def _why_not_ended(self) -> TurnError:
        if self.answer.status == "waiting":
            return TurnError("waiting", "the run waits for your decision: open the web page")
        if self.ended:
            return TurnError("cancelled", "the run was cancelled")
        return TurnError("interrupted", "the server stopped in between; send the request again")

    def completion(self) -> dict[str, Any]:
        """The whole answer. Raises TurnError."""
        if (failure := self._failure()) is not None:
            raise failure
        if not self.ended or self.answer.status == "waiting":
            raise self._why_not_ended()
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.answer.whole,
            "refusal": None,
        }
        if reasoning := self.answer.reasoning:
            message["reasoning_content"] = message["reasoning"] = reasoning
        finish = "stop" if self.answer.status == "completed" else "length"
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": MODEL_ID,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            ],
            "usage": _usage(self.answer.usage),
        }


def _usage(usage: Usage | None) -> dict[str, int]:
    known = usage or Usage()
    return {
        "prompt_tokens": known.prompt_tokens,
        "completion_tokens": known.completion_tokens,
        "total_tokens": known.prompt_tokens + known.completion_tokens,
    }
