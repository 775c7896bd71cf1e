"""Requests: what messages become for servers with more and less strict templates."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from core.models.request import NO_RESULT, Options, build, encode, normalise
from core.models.servers.capabilities import DEFAULT, Capabilities
from tests.support.gateways import WEATHER

S = {"role": "system", "content": "S"}
D = {"role": "developer", "content": "D"}
U = {"role": "user", "content": "U"}
A = {"role": "assistant", "content": "A"}


def calls(*ids: str) -> dict[str, Any]:
    """An assistant message with calls."""
    made = [
        {"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in ids
    ]
    return {"role": "assistant", "content": "", "tool_calls": made}


def result(call_id: str, text: str = "R") -> dict[str, Any]:
    """The result of a call."""
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def roles(messages: list[dict[str, Any]]) -> str:
    """Initials of the roles."""
    return "".join(message["role"][0] for message in messages)


def test_system_messages_become_one_at_the_beginning() -> None:
    assert normalise([U, S, A, D, U], DEFAULT) == [
        {"role": "system", "content": "S\n\nD"},
        U,
        A,
        U,
    ]


def test_neighbours_are_merged() -> None:
    merged = normalise([U, U, A, A, calls("1"), result("1"), A], DEFAULT)
    assert roles(merged) == "uata"
    assert merged[0]["content"] == "U\n\nU"
    assert (merged[1]["content"], len(merged[1]["tool_calls"])) == ("A\n\nA", 1)


def test_pictures_survive_merging() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = [U, {"role": "user", "content": [picture]}, U]
    text = {"type": "text", "text": "U"}
    assert normalise(messages, DEFAULT) == [{"role": "user", "content": [text, picture, text]}]


def test_lists_of_mere_text_become_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert normalise([{"role": "user", "content": parts}], DEFAULT)[0]["content"] == "ab"


def test_every_call_is_answered_in_order() -> None:
    messages = [U, calls("1", "2", "3"), result("3", "three"), result("1", "one"), U]
    answered = normalise(messages, DEFAULT)[2:5]
    assert [(m["tool_call_id"], m["content"]) for m in answered] == [
        ("1", "one"),
        ("2", NO_RESULT),
        ("3", "three"),
    ]


def test_stray_results_become_words_of_the_user() -> None:
    assert normalise([U, result("9", "nine")], DEFAULT) == [
        {"role": "user", "content": "U\n\n[tool result] nine"}
    ]
    messages = normalise([U, calls("1"), result("1"), result("1", "again")], DEFAULT)
    assert roles(messages) == "uatu"


def test_null_content_becomes_empty_text() -> None:
    assert normalise([U, {"role": "assistant", "content": None}], DEFAULT)[1]["content"] == ""


def test_foreign_fields_and_roles_go() -> None:
    odd = {"role": "user", "content": "U", "name": "x", "reasoning_content": "hm"}
    assert normalise([odd], DEFAULT) == [U]
    assert normalise([{"role": "function", "content": "U"}], DEFAULT) == [U]


def test_a_server_without_tools_gets_calls_in_words() -> None:
    messages = normalise([U, calls("1"), result("1"), U], Capabilities(tools=False))
    assert [m["content"] for m in messages] == ["U", "[called f({})]", "[tool result] R\n\nU"]
    assert roles(messages) == "uau"


def test_a_template_without_system_role() -> None:
    folded = normalise([S, A, U], Capabilities(system_role=False))
    assert folded == [A, {"role": "user", "content": "S\n\nU"}]


def test_a_strict_template_begins_with_the_user() -> None:
    strict = normalise([S, A, U], Capabilities(alternate_roles=True))
    assert roles(strict) == "suau"
    strict = normalise([U, calls("1"), result("1"), U], Capabilities(alternate_roles=True))
    assert roles(strict) == "uatau"


def test_there_is_always_a_user() -> None:
    assert normalise([S], DEFAULT) == [{"role": "user", "content": "S"}]
    assert roles(normalise([S, A], DEFAULT)) == "sua"
    assert roles(normalise([], DEFAULT)) == "u"


def test_usage_is_asked_for_only_where_it_is_taken() -> None:
    options = Options("m")
    assert "stream_options" not in build([U], options, DEFAULT)
    known = Capabilities(stream_usage=True)
    assert build([U], options, known)["stream_options"] == {"include_usage": True}
    refused = Capabilities(stream_usage=True, refused_parameters=("stream_options",))
    assert "stream_options" not in build([U], options, refused)
    whole = build([U], options, Capabilities(stream_usage=True, streaming=False))
    assert (whole["stream"], "stream_options" in whole) == (False, False)


@pytest.mark.parametrize("known", [Capabilities(tools=False), DEFAULT])
def test_tools_are_left_out_for_servers_without(known: Capabilities) -> None:
    body = build([U], Options("m", [WEATHER], "required"), known)
    assert ("tools" in body) == (known.tools is not False)


def test_anything_can_be_encoded() -> None:
    assert encode({"a": "\ud83d", "b": 2**70, "c": ["\udc4b"], "d": (1,)}) == (
        '{"a":"\ufffd","b":"1180591620717411303424","c":["\ufffd"],"d":[1]}'.encode()
    )


MESSAGES = st.lists(
    st.one_of(
        st.sampled_from([S, D, U, A]),
        st.lists(st.sampled_from("123"), min_size=1, max_size=3, unique=True).map(
            lambda ids: calls(*ids)
        ),
        st.sampled_from("123").map(result),
    ),
    max_size=12,
)


@limits(deadline=None)
@given(messages=MESSAGES, strict=st.booleans(), tools=st.booleans(), system=st.booleans())
def test_what_is_sent_is_always_valid(
    messages: list[dict[str, Any]], strict: bool, tools: bool, system: bool
) -> None:
    known = Capabilities(
        alternate_roles=strict,
        tools=None if tools else False,
        system_role=None if system else False,
    )
    sent = normalise(messages, known)
    shape = roles(sent)
    assert "u" in shape
    assert "s" not in shape[1:]
    assert system or "s" not in shape
    assert tools or "t" not in shape
    assert "uu" not in shape
    open_calls: list[str] = []
    for message in sent:
        if message["role"] == "tool":
            assert message["tool_call_id"] == open_calls.pop(0)
            continue
        assert open_calls == []
        open_calls = [call["id"] for call in message.get("tool_calls", ())]
    assert open_calls == []
    if strict:
        assert shape.lstrip("s").startswith("u")
        assert "tu" not in shape
