"""The OpenAI face: what goes out. Journal entries become chunks, or one completion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from api.openai.bodies import MODEL_ID
from core.conversations.journal import Entry
from core.errors import AssistantError

STATUS = {
    "context_overflow": 400,
    "inbox_full": 429,
    "unreachable": 502,
    "loading": 503,
    "timeout": 504,
    "interrupted": 503,
    "thread_deleted": 410,
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
    """Text as a client adds it up. It cannot be told to forget: what a resumed turn repeats is not
    sent again, and where the new text differs it begins after a blank line."""

    parts: list[str] = field(default_factory=list[str])
    _sent: str = ""
    _behind: bool = False

    def __str__(self) -> str:
        return "".join(self.parts)

    def restart(self) -> None:
        """A new attempt begins."""
        if not self._behind:
            self._sent, self._behind = str(self), bool(self.parts)
        self.parts.clear()

    def add(self, text: str) -> str:
        """What of it is new to the client."""
        self.parts.append(text)
        if not self._behind:
            return text
        whole = str(self)
        if self._sent.startswith(whole):
            return ""
        self._behind = False
        return whole[len(self._sent) :] if whole.startswith(self._sent) else f"\n\n{whole}"


@dataclass
class Encoder:
    """Chunks of one completion, and its sum."""

    id: str
    created: int
    text: Told = field(default_factory=Told)
    reasoning: Told = field(default_factory=Told)
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
                new = self.reasoning.add(data["text"])
                return {"reasoning_content": new, "reasoning": new} if new else None
            case "message_completed":
                self._between = True
                self.usage = _usage(data["usage"])
            case "turn_started":
                self._between = False
                self.text.restart()
                self.reasoning.restart()
            case "turn_failed":
                self.failure = TurnError(data["code"], data["detail"])
            case "turn_finished":
                self.status = data["status"]
            case "thread_deleted":
                self.failure = TurnError("thread_deleted", "the conversation was deleted meanwhile")
            case _:
                pass
        return None

    def _text(self, text: str) -> dict[str, Any] | None:
        if self._between:
            text, self._between = "\n\n" + text, False
        new = self.text.add(text)
        return {"content": new} if new else None

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
        failure = self.failure or self._why_not_ended()
        error = {
            "message": failure.detail,
            "type": "server_error",
            "param": None,
            "code": failure.code,
        }
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"

    def _why_not_ended(self) -> TurnError:
        if self.ended:
            return TurnError("cancelled", "the run was cancelled")
        return TurnError("interrupted", "the server stopped in between; send the request again")

    def completion(self) -> dict[str, Any]:
        """The whole answer. Raises TurnError."""
        if self.failure is not None:
            raise self.failure
        if not self.ended:
            raise self._why_not_ended()
        message: dict[str, Any] = {
            "role": "assistant",
            "content": str(self.text),
            "refusal": None,
        }
        if self.reasoning.parts:
            message["reasoning_content"] = message["reasoning"] = str(self.reasoning)
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
