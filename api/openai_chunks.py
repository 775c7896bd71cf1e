"""The OpenAI face: what goes out. Journal entries become chunks, or one completion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from api.openai_models import MODEL_ID
from core.errors import AssistantError
from core.journal import Entry

STATUS = {
    "context_overflow": 400,
    "inbox_full": 429,
    "unreachable": 502,
    "loading": 503,
    "timeout": 504,
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
class Encoder:
    """Chunks of one completion, and its sum."""

    id: str
    created: int
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    usage: dict[str, int] | None = None
    status: str = ""
    failure: TurnError | None = None
    _between: bool = False

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return bool(self.status)

    def take(self, entry: Entry) -> dict[str, Any] | None:
        """The delta that an entry means to a client, None when it means nothing to it."""
        data = cast("dict[str, Any]", orjson.loads(entry.data))
        match entry.type:
            case "text_delta":
                return self._text(data["text"])
            case "reasoning_delta":
                self.reasoning.append(data["text"])
                return {"reasoning_content": data["text"], "reasoning": data["text"]}
            case "message_completed":
                self._between = True
                self.usage = _usage(data["usage"])
            case "turn_started":
                self.text.clear()
                self.reasoning.clear()
            case "turn_failed":
                self.failure = TurnError(data["code"], data["detail"])
            case "turn_finished":
                self.status = data["status"]
            case _:
                pass
        return None

    def _text(self, text: str) -> dict[str, Any]:
        if self._between:
            text, self._between = "\n\n" + text, False
        self.text.append(text)
        return {"content": text}

    def chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        """One chunk as an SSE frame."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._frame({"choices": [choice]})

    def usage_chunk(self) -> bytes:
        """The chunk with the usage and no choice, as `stream_options.include_usage` asks for."""
        return self._frame({"choices": [], "usage": self.usage or _usage({})})

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
        failure = self.failure or TurnError("cancelled", "the run was cancelled")
        error = {
            "message": failure.detail,
            "type": "server_error",
            "param": None,
            "code": failure.code,
        }
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"

    def completion(self) -> dict[str, Any]:
        """The whole answer. Raises TurnError."""
        if self.failure is not None:
            raise self.failure
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.text),
            "refusal": None,
        }
        if self.reasoning:
            message["reasoning_content"] = message["reasoning"] = "".join(self.reasoning)
        finish = "stop" if self.status == "completed" else "length"
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": MODEL_ID,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            ],
            "usage": self.usage or _usage({}),
        }


def _usage(usage: dict[str, Any]) -> dict[str, int]:
    prompt, completion = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
