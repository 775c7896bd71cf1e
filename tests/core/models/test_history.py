"""What a conversation becomes for servers that are strict, each in its own manner."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from core.models.history import EMPTY_RESULT, NO_ANSWER, NO_RESULT, call_id, normalise
from core.models.servers.capabilities import DEFAULT, Capabilities
from tests.support.manners import MANNERS

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
    assert roles(merged) == "uatau"
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
    asked, *answered = normalise(messages, DEFAULT)[1:5]
    assert [m["tool_call_id"] for m in answered] == [c["id"] for c in asked["tool_calls"]]
    assert [m["content"] for m in answered] == ["one", NO_RESULT, "three"]


def test_stray_results_become_words_of_the_user() -> None:
    assert normalise([U, result("9", "nine")], DEFAULT) == [
        {"role": "user", "content": "U\n\n[tool result] nine"}
    ]
    messages = normalise([U, calls("1"), result("1"), result("1", "again")], DEFAULT)
    assert roles(messages) == "uatau"


def test_what_says_nothing_is_not_sent() -> None:
    silent = {"role": "assistant", "content": None}
    assert normalise([U, silent, U], DEFAULT) == [{"role": "user", "content": "U\n\nU"}]
    assert normalise([U, calls("1"), result("1", "")], DEFAULT)[2]["content"] == EMPTY_RESULT


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
    assert folded == [{"role": "user", "content": "S\n\nContinue."}, A, U]


def test_the_user_begins_and_ends() -> None:
    assert roles(normalise([S, A, U], DEFAULT)) == "suau"
    assert roles(normalise([U, A], DEFAULT)) == "uau"


def test_the_user_never_speaks_right_behind_a_result() -> None:
    sent = normalise([U, calls("1"), result("1"), U], DEFAULT)
    assert (roles(sent), sent[3]["content"]) == ("uatau", NO_ANSWER)


def test_a_template_of_two_roles() -> None:
    sent = normalise([U, calls("1"), result("1"), A, U], Capabilities(alternate_roles=True))
    assert roles(sent) == "uauau"


def test_there_is_always_a_user() -> None:
    assert normalise([S], DEFAULT) == [{"role": "user", "content": "S"}]
    assert roles(normalise([S, A], DEFAULT)) == "suau"
    assert roles(normalise([], DEFAULT)) == "u"


@pytest.mark.parametrize(
    "name", ["call_abc123", "", "c1", "functions.weather:0", "й" * 400, "\ud83d"]
)
def test_ids_have_nine_signs_and_stay_the_same(name: str) -> None:
    fit = call_id(name, set())
    assert len(fit) == 9
    assert fit.isascii()
    assert fit.isalnum()
    assert fit == call_id(name, set()) == call_id(fit, set())
    taken: set[str] = set()
    assert len({call_id(name, taken) for _ in range(5)}) == 5


def test_ids_do_not_change_when_old_messages_leave() -> None:
    old = [U, calls("a"), result("a"), A]
    new = [U, calls("b"), result("b"), A, U]
    assert normalise([*old, *new], DEFAULT)[-5:] == normalise(new, DEFAULT)


def test_an_id_that_is_used_again_is_changed() -> None:
    again = [U, calls("abcdefghi"), result("abcdefghi"), A]
    sent = normalise([*again, *again], DEFAULT)
    ids = [call["id"] for m in sent for call in m.get("tool_calls", ())]
    assert ids[0] == "abcdefghi"
    assert [m["tool_call_id"] for m in sent if m["role"] == "tool"] == ids
    assert len(set(ids)) == 2


TEXTS = st.one_of(st.sampled_from([None, "", " ", "Hm", "\ud83d", [{"type": "text", "text": "x"}]]))
IDS = st.sampled_from(["", "c1", "c2", "abcdefghi", "call_" + "x" * 24, None])
ARGUMENTS: st.SearchStrategy[Any] = st.sampled_from(
    ["{}", "", "{", "[1]", None, {"a": 1}, "1", "null"]
)
CALLS: st.SearchStrategy[Any] = st.lists(
    st.fixed_dictionaries(
        {
            "id": IDS,
            "function": st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["f", "", None, "мой", "a b!", "n" * 500]),
                    "arguments": ARGUMENTS,
                }
            ),
        }
    ),
    max_size=3,
)
MESSAGES: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["system", "developer", "user", "odd"]), "content": TEXTS}
        ),
        st.fixed_dictionaries(
            {"role": st.just("assistant"), "content": TEXTS, "tool_calls": CALLS}
        ),
        st.fixed_dictionaries({"role": st.just("tool"), "content": TEXTS, "tool_call_id": IDS}),
    ),
    max_size=12,
)
KNOWN = {
    "gemma": Capabilities(alternate_roles=True, system_role=False),
    "without tools": Capabilities(tools=False),
}


@limits(deadline=None, max_examples=300)
@given(messages=MESSAGES)
@pytest.mark.parametrize("manner", MANNERS)
def test_what_is_sent_pleases_each_server(manner: str, messages: list[dict[str, Any]]) -> None:
    body = {"messages": normalise(messages, KNOWN.get(manner, DEFAULT))}
    assert MANNERS[manner](body) == ""
    plain = {"messages": normalise(messages, KNOWN["without tools"])}
    assert not any(m["role"] == "tool" or "tool_calls" in m for m in plain["messages"])
    assert MANNERS[manner](plain) == "" or manner == "gemma"
