"""Bodies of the OpenAI face: what is wrong in millions of places is one error."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api.openai.bodies import ChatMessage, ChatRequest, check_request, text_of
from api.routes import threads
from core.errors import Invalid, NotFound

MANY = 1_000_000
GOOD = {"role": "user", "content": "Hi"}


EMPTY: dict[str, Any] = {}
BAD: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": [1] * MANY}]},
    {"messages": [{"role": "user", "content": [EMPTY] * MANY}]},
    {"messages": [list[int]()] * MANY},
    {"messages": [EMPTY] * MANY},
    {"messages": [GOOD] * 5001},
    {"messages": [1] * 4000},
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_errors_are_not_built_by_the_million(body: dict[str, Any]) -> None:
    began = time.process_time()
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate(body)
    assert caught.value.error_count() <= 5
    assert time.process_time() - began < 0.5


def test_what_clients_send_passes() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]
    body = ChatRequest.model_validate({"messages": [GOOD, {"role": "user", "content": parts}]})
    assert text_of(body.messages[-1]) == "a\nb"


def test_errors_do_not_repeat_all_that_was_sent() -> None:
    with pytest.raises(NotFound) as missing:
        check_request(ChatRequest.model_validate({"model": "x" * MANY, "messages": [GOOD]}))
    part = {"type": "x" * MANY}
    with pytest.raises(Invalid) as refused:
        text_of(ChatMessage.model_validate({"role": "user", "content": [part]}))
    assert max(len(missing.value.detail), len(refused.value.detail)) < 300


def test_every_list_in_a_large_body_has_an_end_and_stops_at_its_first_error() -> None:
    models: tuple[type[BaseModel], ...] = (ChatRequest, ChatMessage, threads.NewMessage)
    for model in models:
        for name, schema in model.model_json_schema()["properties"].items():
            for one in [schema, *schema.get("anyOf", ())]:
                if one.get("type") == "array":
                    assert "maxItems" in one, name
                    with pytest.raises(ValidationError) as caught:
                        model.model_validate({name: [object()] * one["maxItems"]})
                    ours = [e for e in caught.value.errors() if e["loc"][0] == name]
                    assert len(ours) <= 3, name
