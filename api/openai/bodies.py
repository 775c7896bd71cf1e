"""The OpenAI face: what comes in. Unknown fields are ignored, as every server of this kind does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from core.errors import Invalid, NotFound
from core.events import Json

MODEL_ID = "assistant"
MAX_MESSAGES = 5000
MAX_PARTS = 1000
"""Parts of one message."""
MAX_HISTORY_BYTES = 2 * 1024 * 1024
"""Of the earlier messages, in UTF-8: about 500,000 tokens. Redis keeps several copies while the
conversation lives, so what no model would be shown must not get there."""

INSTRUCTIONS = ("system", "developer")
SHOWN = 100
"""Characters that an error repeats of what was sent."""


class Loose(BaseModel):
    """Bodies of foreign clients."""

    model_config = ConfigDict(extra="ignore")


Parts = Annotated[list[dict[str, Any]], Field(max_length=MAX_PARTS, fail_fast=True)]


class ChatMessage(Loose):
    """One message of the history that a stateless client sends."""

    role: str
    content: str | Parts | None = None


class StreamOptions(Loose):
    """Whether a last chunk carries the usage."""

    include_usage: bool = False


class ChatRequest(Loose):
    """Body of POST /v1/chat/completions."""

    model: str = MODEL_ID
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    stream: bool = False
    stream_options: StreamOptions | None = None
    metadata: dict[str, Any] | None = None
    n: int | None = None


def check_request(body: ChatRequest) -> None:
    """Raises NotFound for a model that we are not, Invalid for what cannot be done."""
    if body.model != MODEL_ID:
        raise NotFound(
            f"there is no model {body.model[:SHOWN]!r}; use {MODEL_ID!r}", code="model_not_found"
        )
    if body.n is not None and body.n != 1:
        raise Invalid("n must be 1: the assistant gives one answer")


def text_of(message: ChatMessage) -> str:
    """The text of a message; parts that are no text are refused, not dropped."""
    if message.content is None:
        return ""
    if isinstance(message.content, str):
        return message.content
    texts: list[str] = []
    for part in message.content:
        if part.get("type") not in ("text", "input_text"):
            kind = str(part.get("type"))[:SHOWN]
            raise Invalid(f"content parts of type {kind!r} are not supported; send text")
        texts.append(str(part.get("text") or ""))
    return "\n".join(texts)


@dataclass(frozen=True, slots=True)
class Asked:
    """The message to answer, and what was said before it; ``left_out`` counts the oldest messages,
    which are not stored."""

    text: str
    history: tuple[dict[str, Json], ...]
    left_out: int


def split_history(body: ChatRequest) -> Asked:
    """What a request asks. Raises Invalid."""
    last = body.messages[-1]
    if last.role != "user":
        raise Invalid("the last message must have the role user")
    history: list[dict[str, Json]] = []
    for message in body.messages[:-1]:
        if message.role in ("tool", "function"):
            continue
        text = text_of(message)
        if text:
            history.append({"role": message.role, "content": text})
    kept = _newest(history)
    return Asked(text_of(last), kept, len(history) - len(kept))


def _newest(history: Sequence[dict[str, Json]]) -> tuple[dict[str, Json], ...]:
    """The instructions at the beginning, and the newest messages that fit beside them."""
    left, kept, start = MAX_HISTORY_BYTES, list[dict[str, Json]](), 0
    while start < len(history) and history[start]["role"] in INSTRUCTIONS:
        start += 1
    for message in (*reversed(history[:start]), *reversed(history[start:])):
        left -= len(str(message["content"]).encode("utf-8", "surrogatepass"))
        if left < 0:
            break
        kept.append(message)
    return (*reversed(kept[:start]), *reversed(kept[start:]))
