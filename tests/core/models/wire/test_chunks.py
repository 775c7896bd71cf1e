"""Raw chunks: tool calls in every numbering, usage, content parts, limits."""

from __future__ import annotations

from typing import Any

import pytest

from core.events import Usage
from core.models.errors import ModelError
from core.models.wire.chunks import MAX_ANSWER, ChunkReader
from core.models.wire.pieces import ModelAnswer
from core.models.wire.tools import known_tools
from tests.support.gateways import NOW, WEATHER

TOOLS = known_tools([WEATHER, NOW])


def delta(fields: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}], **more}


def call(
    arguments: Any = None,
    name: str | None = None,
    call_id: str | None = None,
    index: int | None = None,
) -> dict[str, Any]:
    """One delta of a tool call; None leaves the field out."""
    function = {"name": name, "arguments": arguments}
    fields: dict[str, Any] = {"id": call_id, "index": index}
    fields = {key: value for key, value in fields.items() if value is not None}
    return {**fields, "function": {k: v for k, v in function.items() if v is not None}}


def read(*given: dict[str, Any]) -> tuple[ModelAnswer, str]:
    """What an answer of these chunks comes to."""
    reader = ChunkReader(TOOLS)
    for chunk in given:
        reader.add(chunk)
    reason = reader.end()
    return ModelAnswer().add(reader.take()), reason


def called(*calls: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The calls that these deltas, one chunk each, come to."""
    answer, _ = read(*(delta({"tool_calls": [each]}) for each in calls), delta({}, "tool_calls"))
    assert len({each.id for each in answer.calls}) == len(answer.calls)
    return [(each.name, each.arguments) for each in answer.calls]


PARIS, ROME = '{"city":"Paris"}', '{"city":"Rome"}'
TWO = [("f", {"city": "Paris"}), ("f", {"city": "Rome"})]


@pytest.mark.parametrize(
    "deltas",
    [
        [call(PARIS, "f", "a", 0), call(ROME, "f", "b", 1)],
        [call(PARIS, "f", "a", 0), call(ROME, "f", "b", 0)],
        [call(PARIS, "f", "a"), call(ROME, "f", "b")],
        [call(PARIS, "f", index=0), call(ROME, "f", index=1)],
        [call(PARIS, "f", index=0), call(ROME, "f", index=0)],
        [call(PARIS, "f"), call(ROME, "f")],
        [call(PARIS, "f", "", 0), call(ROME, "f", "", 1)],
        [call(PARIS, "f", "same", 0), call(ROME, "f", "same", 1)],
        [
            call("", "f", "a", 0),
            call('{"city":', index=0),
            call("", "f", "b", 1),
            call('"Paris"}', index=0),
            call(ROME, index=1),
        ],
        [call('{"city":', "f", "a", 0), call('"Paris"}', "f", "a", 0), call(ROME, "f", "b", 1)],
        [call('{"city":', "f", "a", 0), call('"Paris"}', "", "", 0), call(ROME, "f", "b", 1)],
        [call({"city": "Paris"}, "f", "a", 0), call({"city": "Rome"}, "f", "b", 1)],
    ],
)
def test_two_calls_stay_two(deltas: list[dict[str, Any]]) -> None:
    assert called(*deltas) == TWO


@pytest.mark.parametrize(
    "parts",
    [
        ["{", '{"city":', PARIS],
        [PARIS, PARIS],
        ['{"ci', 'ty":"Paris"}', PARIS],
        ["{}", PARIS],
        ["", '{"city"', ":", '"Paris"}', ""],
        ["null", PARIS],
        [f"```json\n{PARIS}", "\n```"],
    ],
)
def test_one_call_stays_one_however_its_arguments_come(parts: list[str]) -> None:
    first, *others = parts
    for index in (0, None):
        assert called(
            call(first, "f", "a", index), *(call(part, index=index) for part in others)
        ) == [("f", {"city": "Paris"})]
        assert called(
            call(first, "f", "a", index), *(call(part, "", "", index) for part in others)
        ) == [("f", {"city": "Paris"})]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        ("null", {}),
        ("{}", {}),
        ("  {}\n", {}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ("{'a': True}", {"a": True}),
        ('{"a": "one\ntwo"}', {"a": "one\ntwo"}),
    ],
)
def test_arguments_that_can_be_read(arguments: str, expected: dict[str, Any]) -> None:
    assert called(call(arguments, "f", "a", 0)) == [("f", expected)]


@pytest.mark.parametrize("arguments", ['{"a": 1', "[1]", "17", '"x"', "{'a': open('x')}", "a=1"])
def test_arguments_that_cannot_be_read_run_nothing(arguments: str) -> None:
    answer, reason = read(
        delta({"tool_calls": [call(arguments, "f", "a", 0)]}), delta({}, "tool_calls")
    )
    assert answer.calls == ()
    assert [(bad.id, bad.name, bad.raw) for bad in answer.invalid] == [("a", "f", arguments)]
    assert "Call the tool again" in answer.invalid[0].error
    assert reason == "tool_calls"


def test_a_call_without_a_name_is_invalid() -> None:
    answer, _ = read(delta({"tool_calls": [call("{}", None, "a", 0)]}), delta({}, "tool_calls"))
    assert answer.calls == ()
    assert answer.invalid[0].error == "The call names no tool."


def test_control_tokens_in_a_name_go() -> None:
    assert called(call("{}", "functions.now<|channel|>commentary", "a", 0)) == [("now", {})]


@pytest.mark.parametrize("finish", ["length", None])
def test_calls_of_an_unfinished_answer_are_refused(finish: str | None) -> None:
    with pytest.raises(ModelError) as caught:
        read(delta({"tool_calls": [call(PARIS, "f", "a", 0)]}), delta({}, finish))
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize("finish", ["stop", "eos", "end_turn", "content_filter", "STOP"])
def test_any_other_finish_word_is_stop(finish: str) -> None:
    assert read(delta({"content": "x"}), delta({}, finish))[1] == "stop"


@pytest.mark.parametrize("finish", ["length", "max_tokens"])
def test_a_full_answer_is_length(finish: str) -> None:
    assert read(delta({"content": "x"}), delta({}, finish))[1] == "length"


def test_calls_in_the_thinking_count_when_nothing_else_was_said() -> None:
    thought = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    answer, reason = read(delta({"reasoning_content": thought}), delta({}, "stop"))
    assert [each.name for each in answer.calls] == ["now"]
    assert reason == "tool_calls"
    answer, reason = read(
        delta({"reasoning_content": thought}), delta({"content": "No."}), delta({}, "stop")
    )
    assert (answer.calls, answer.text, reason) == ((), "No.", "stop")


def test_native_calls_win_over_calls_in_text() -> None:
    answer, _ = read(
        delta({"content": '<tool_call>{"name": "now"}</tool_call>'}),
        delta({"tool_calls": [call(PARIS, "get_weather", "a", 0)]}),
        delta({}, "stop"),
    )
    assert [each.name for each in answer.calls] == ["get_weather"]


def test_content_parts_are_told_apart() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "Hi"}, 7]
    answer, _ = read(delta({"content": parts}), delta({}, "stop"))
    assert (answer.text, answer.reasoning) == ("Hi", "hm")


def test_both_halves_of_an_emoji_find_each_other() -> None:
    answer, _ = read(
        delta({"content": "a\ud83d"}), delta({"content": "\udc4bb"}), delta({}, "stop")
    )
    assert answer.text == "a👋b"
    answer, _ = read(delta({"content": "a\ud83d"}), delta({}, "stop"))
    assert answer.text == "a\ufffd"


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([{"prompt_tokens": 1, "completion_tokens": 2}], Usage(1, 2)),
        (
            [
                {"prompt_tokens": 9, "completion_tokens": 2},
                {"prompt_tokens": 9, "completion_tokens": 4},
            ],
            Usage(9, 4),
        ),
        ([{"prompt_tokens": 3, "completion_tokens": None, "total_tokens": 5}], Usage(3, 2)),
        ([{"prompt_tokens": None}], None),
        ([None], None),
        (["many"], None),
    ],
)
def test_usage(reports: list[Any], expected: Usage | None) -> None:
    reader = ChunkReader(TOOLS)
    for report in reports:
        reader.add(delta({"content": "x"}, usage=report))
    assert reader.reported_usage == expected


def test_an_answer_without_end_is_cut_off() -> None:
    reader = ChunkReader(TOOLS)
    reader.add(delta({"content": "x" * MAX_ANSWER}))
    assert not reader.too_long
    reader.add(delta({"content": "x"}))
    assert reader.too_long
    assert reader.end() == "truncated"


@pytest.mark.parametrize(
    "odd",
    [{}, {"choices": None}, {"choices": [None]}, {"choices": "x"}, {"choices": [{"delta": 7}]}],
)
def test_odd_chunks_do_no_harm(odd: dict[str, Any]) -> None:
    answer, reason = read(odd, delta({"content": "x"}), odd, delta({}, "stop"))
    assert (answer.text, reason) == ("x", "stop")
