"""The OpenAI face: journal entries become what an OpenAI client adds up."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.openai.chunks import Encoder, TurnError
from core.conversations.journal import Entry


def entry(kind: str, **data: Any) -> Entry:
    return Entry("t", "1-0", "r", kind, orjson.dumps(data))


START = entry("turn_started", message_id="m", attempt=1)
END = entry("turn_finished", status="completed")


def text(words: str) -> Entry:
    return entry("text_delta", text=words)


def thought(words: str) -> Entry:
    return entry("reasoning_delta", text=words)


def completed(words: str) -> Entry:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "estimated": False}
    return entry("message_completed", message_id="a", text=words, usage=usage, model="m")


def fed(*entries: Entry) -> tuple[Encoder, str]:
    """The encoder after the entries, and the content that a streaming client has by then."""
    encoder, content = Encoder("id", 0), ""
    for one in entries:
        content += (encoder.take(one) or {}).get("content", "")
    return encoder, content


def answer(encoder: Encoder) -> str:
    return encoder.completion()["choices"][0]["message"]["content"]


def test_a_plain_answer() -> None:
    encoder, content = fed(START, thought("Hm"), text("Hel"), text("lo"), completed("Hello"), END)
    whole = encoder.completion()
    assert content == answer(encoder) == "Hello"
    assert whole["choices"][0]["message"]["reasoning"] == "Hm"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_a_deleted_conversation_is_an_error() -> None:
    encoder, content = fed(START, text("Hel"), Entry("t", "2-0", "", "thread_deleted", b"{}"))
    assert content == "Hel"
    assert orjson.loads(encoder.error_frame()[6:])["error"]["code"] == "thread_deleted"
    with pytest.raises(TurnError, match="deleted") as caught:
        encoder.completion()
    assert caught.value.status == 410


def test_a_resumed_turn_is_not_told_twice() -> None:
    """A stream over a crash of the worker gave `Hello worHello world`."""
    again = entry("turn_started", message_id="m", attempt=2)
    encoder, content = fed(START, text("Hello wor"), again, text("Hello "), text("world!"), END)
    assert content == answer(encoder) == "Hello world!"


def test_a_resumed_turn_that_was_cut_again() -> None:
    again = entry("turn_started", message_id="m", attempt=2)
    encoder, content = fed(
        START, text("Hello wor"), again, text("Hel"), again, text("Hello world!"), END
    )
    assert content == answer(encoder) == "Hello world!"


def test_a_resumed_turn_with_another_text_begins_anew() -> None:
    again = entry("turn_started", message_id="m", attempt=2)
    encoder, content = fed(START, text("Hello wor"), again, text("Good "), text("day"), END)
    assert content == "Hello wor\n\nGood day"
    assert answer(encoder) == "Good day"


def test_two_answers_of_one_turn_stand_apart() -> None:
    encoder, content = fed(START, text("One"), completed("One"), text("Two"), completed("Two"), END)
    assert content == answer(encoder) == "One\n\nTwo"


def test_a_failure_is_an_error() -> None:
    failed = entry("turn_failed", code="context_overflow", detail="too long", retryable=False)
    encoder, _ = fed(START, failed, entry("turn_finished", status="failed"))
    with pytest.raises(TurnError, match="too long") as caught:
        encoder.completion()
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")
    error = orjson.loads(encoder.error_frame().removeprefix(b"data: "))["error"]
    assert error["code"] == "context_length_exceeded"


def test_half_an_answer_is_no_answer() -> None:
    """A shutdown made a completion of what had come, with `finish_reason: length`."""
    encoder, _ = fed(START, text("Half"))
    with pytest.raises(TurnError, match="send the request again") as caught:
        encoder.completion()
    assert caught.value.status == 503
    assert b"interrupted" in encoder.error_frame()
