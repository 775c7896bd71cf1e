"""Whatever a model or its server sends is counted, bounded, and made of plain values."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest

from core.models.errors import ModelError, classify
from core.models.wire.calls import MAX_CALLS, MAX_NAME, read_arguments
from core.models.wire.chunks import MAX_ANSWER, ChunkReader
from core.models.wire.pieces import ModelAnswer
from core.models.wire.tools import known_tools
from core.models.wire.values import MAX_DEPTH
from tests.support.gateways import NOW, WEATHER

TOOLS = known_tools([WEATHER, NOW])


def read(*deltas: dict[str, Any], finish: str = "stop") -> ModelAnswer:
    """What an answer of these deltas comes to."""
    reader = ChunkReader(TOOLS)
    for delta in deltas:
        reader.add({"choices": [{"delta": delta}]})
        if reader.too_long:
            break
    reader.add({"choices": [{"delta": {}, "finish_reason": finish}]})
    reader.end()
    return ModelAnswer().add(reader.take())


def native(name: str = "now", arguments: Any = "{}", **fields: Any) -> dict[str, Any]:
    """A delta with one call."""
    return {"tool_calls": [{**fields, "function": {"name": name, "arguments": arguments}}]}


def test_names_of_four_megabytes_end_the_answer() -> None:
    name = "n" * 4_000_000
    with pytest.raises(ModelError) as caught:
        read(*(native(name, id=f"c{n}") for n in range(20)))
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize("field", ["name", "id"])
def test_long_names_and_ids_are_not_kept(field: str) -> None:
    long = "n" * (MAX_ANSWER // 2)
    tracemalloc.start()
    answer = read(native(name=long) if field == "name" else native(id=long))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MAX_ANSWER
    call = answer.invalid[0] if field == "name" else answer.calls[0]
    assert len(call.name) <= MAX_NAME
    assert len(call.id) <= MAX_NAME
    assert field == "id" or "128 characters" in answer.invalid[0].error


def test_two_long_ids_stay_two() -> None:
    answer = read(native(id="n" * 500 + "1"), native(id="n" * 500 + "2"))
    assert len({call.id for call in answer.calls}) == 2


def test_sixty_four_calls_are_run() -> None:
    answer = read(*(native(id=f"c{n}") for n in range(MAX_CALLS)))
    assert len(answer.calls) == MAX_CALLS


TEXTS = {
    "hermes": '<tool_call>{"name": "now"}</tool_call>' * 100,
    "hermes list": "<tool_call>[" + '{"name": "now"},' * 99 + '{"name": "now"}]</tool_call>',
    "qwen": "<function=now></function>" * 100,
    "mistral": "[TOOL_CALLS]now{}" * 100,
    "llama": "<|python_tag|>" + '{"name": "now"};' * 100,
    "pythonic": "[" + "now()," * 100 + "]",
}


@pytest.mark.parametrize("name", ["native", "ten thousand", "thinking", *TEXTS])
def test_more_calls_end_the_answer_in_words(name: str) -> None:
    match name:
        case "native":
            deltas = [native(id=f"c{n}") for n in range(MAX_CALLS + 1)]
        case "ten thousand":
            deltas = [{"tool_calls": [{"id": f"c{n}"} for n in range(10_000)]}]
        case "thinking":
            deltas = [{"reasoning_content": TEXTS["hermes"]}]
        case _:
            deltas = [{"content": TEXTS[name]}]
    with pytest.raises(ModelError) as caught:
        read(*deltas)
    assert "more than 64 tool calls" in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": 1180591620717411303424}',
        '{"a": [NaN, 1180591620717411303424]}',
        '{"a": ' + "9" * 5000 + "}",
        "{'a': 1j}",
        "{'a': ...}",
        "{'a': {1, 2}}",
        "{'a': b'x'}",
        "{1: 2}",
        "{[]: 1}",
        "{{}: 1}",
        '{"a": ' + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + "}",
        '{"a": ' + "[" * 2000 + "]" * 2000 + "}",
        "{'a': " + "[" * 2000 + "]" * 2000 + "}",
        '{"a":' * 50_000,
        "{'a': " + "-" * 5000 + "1}",
        "{'a': [" + "1," * 40_000 + "]}",
    ],
    ids=lambda raw: raw[:30],
)
def test_arguments_that_json_does_not_have_are_an_invalid_call(raw: str) -> None:
    answer = read(native(arguments=raw, id="a"))
    assert answer.calls == ()
    assert "Call the tool again" in answer.invalid[0].error


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('{"a": 18446744073709551615}', {"a": 18446744073709551615}),
        ('{"a": "12345678901234567890123"}', {"a": "12345678901234567890123"}),
        ('{"a": "cut \\ud83d"}', {"a": "cut \ufffd"}),
        ("{'a': (1, None)}", {"a": [1, None]}),
        ('json\n{"a": 1}', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", None),
    ],
)
def test_what_can_be_stored_is_read(raw: str, expected: dict[str, Any] | None) -> None:
    found = read_arguments(raw)
    assert found is not None
    orjson.dumps(found)
    assert expected is None or found == expected


def test_arguments_that_are_an_object_too_deep_to_write_are_an_invalid_call() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    assert read(native(arguments={"a": deep})).invalid


def test_an_error_nested_too_deeply_is_an_error_like_others() -> None:
    body = '{"error": ' + "[" * 900 + "]" * 900 + "}"
    assert classify(500, body).kind == "other"
    with pytest.raises(ModelError):
        ChunkReader(TOOLS).add(orjson.loads(body))


DEEP = "[" * 1000 + "]" * 1000


@pytest.mark.parametrize("field", ["code", "type", "param", "message", "detail"])
def test_a_field_of_an_error_nested_too_deeply_is_no_word(field: str) -> None:
    body = f'{{"error": {{"message": "refused", "{field}": {DEEP}}}}}'
    assert classify(500, body).kind == "other"


@pytest.mark.parametrize(
    "fields",
    [
        '"choices": [{"delta": {"content": "Hi"}, "finish_reason": DEEP}]',
        '"choices": [{"delta": {"content": DEEP}}]',
        '"choices": [{"delta": {"content": [{"thinking": DEEP}]}}]',
        '"choices": [{"delta": {"reasoning_content": DEEP}}]',
        '"choices": [{"delta": {"reasoning_details": DEEP}}]',
        '"choices": [{"delta": DEEP}]',
        '"choices": DEEP',
        '"choices": [], "usage": DEEP',
        '"choices": [{"delta": {"tool_calls": DEEP}}]',
        '"choices": [{"delta": {"tool_calls": [{"id": DEEP, "index": DEEP}]}}]',
        '"choices": [{"delta": {"tool_calls": [{"function": {"name": DEEP}}]}}]',
        '"choices": [{"delta": {"tool_calls": [{"function": {"arguments": DEEP}}]}}]',
    ],
)
def test_a_chunk_nested_too_deeply_is_no_traceback(fields: str) -> None:
    reader = ChunkReader(TOOLS)
    reader.add(orjson.loads(f"{{{fields}}}".replace("DEEP", DEEP)))
    reader.add({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    reader.end()


@pytest.mark.parametrize("figure", [0, -1, 2**63, True])
def test_a_figure_that_cannot_be_true_is_not_believed(figure: int) -> None:
    reader = ChunkReader(TOOLS)
    usage = {"prompt_tokens": figure, "completion_tokens": 5}
    reader.add({"choices": [{"delta": {"content": "Hi"}}], "usage": usage})
    assert reader.reported_usage is None
