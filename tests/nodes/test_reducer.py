"""The messages reducer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
)
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages

from nodes.reducer import messages_reducer

IDS = tuple("abcdef")
REPEATABLE = settings(derandomize=True, deadline=None, max_examples=300)


def message(message_id: str | None, text: str) -> HumanMessage:
    return HumanMessage(text, id=message_id)


def removal(message_id: str) -> RemoveMessage:
    return RemoveMessage(id=message_id)


MESSAGE = st.builds(message, st.sampled_from((*IDS, None)), st.text(max_size=3))
REMOVAL = st.builds(removal, st.sampled_from(IDS))
RESET = st.just(RemoveMessage(id=REMOVE_ALL_MESSAGES))
WRITE = st.lists(st.one_of(MESSAGE, MESSAGE, REMOVAL, RESET), max_size=4) | MESSAGE


@given(st.lists(WRITE, max_size=6), st.lists(WRITE, max_size=6), st.lists(MESSAGE, max_size=4))
@REPEATABLE
def test_grouping_of_writes_does_not_matter(
    first: list[Any], then: list[Any], start: list[Any]
) -> None:
    state = messages_reducer([], start)
    assert messages_reducer(messages_reducer(state, first), then) == messages_reducer(
        state, first + then
    )


@given(st.lists(WRITE, max_size=4))
@REPEATABLE
def test_arguments_stay_as_they_are(writes: list[Any]) -> None:
    state = [HumanMessage("old", id="a")]
    before = copy.deepcopy(writes)
    messages_reducer(state, writes)
    assert state == [HumanMessage("old", id="a")]
    assert writes == before


@given(st.lists(st.sampled_from(IDS), max_size=5, unique=True), st.data())
@REPEATABLE
def test_like_add_messages_where_that_is_defined(known: list[str], data: st.DataObject) -> None:
    """Defined: only known ids are removed, and nothing is removed and added again."""
    left: list[BaseMessage] = [HumanMessage("old", id=name) for name in known]
    removed = data.draw(st.lists(st.sampled_from(known), unique=True)) if known else []
    written = data.draw(st.lists(st.sampled_from(IDS), max_size=5))
    right: list[BaseMessage] = [
        AIMessage("new", id=name) for name in written if name not in removed
    ]
    right += [RemoveMessage(id=name) for name in removed]
    assert messages_reducer(left, [right]) == add_messages(left, right)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(IDS), max_size=4, unique=True))
@REPEATABLE
def test_remove_all_like_add_messages(after: list[str]) -> None:
    left = [HumanMessage("old", id="z")]
    right = [
        AIMessage("lost", id="y"),
        RemoveMessage(id=REMOVE_ALL_MESSAGES),
        *(AIMessage("new", id=name) for name in after),
    ]
    assert messages_reducer(left, [right]) == add_messages(left, right)  # type: ignore[arg-type]


def test_a_known_id_keeps_its_place() -> None:
    state = [HumanMessage("1", id="a"), HumanMessage("2", id="b")]
    assert messages_reducer(state, [HumanMessage("3", id="a")]) == [
        HumanMessage("3", id="a"),
        HumanMessage("2", id="b"),
    ]


def test_removing_an_unknown_id_does_nothing() -> None:
    state = [HumanMessage("1", id="a")]
    assert messages_reducer(state, [[RemoveMessage(id="gone")]]) == state


def test_no_ids_are_made_up() -> None:
    assert [message.id for message in messages_reducer([], [[HumanMessage("x")]])] == [None]


def test_pieces_and_plain_forms_become_messages() -> None:
    found = messages_reducer(
        [{"role": "user", "content": "q", "id": "1"}],
        [
            [AIMessageChunk(content="a", id="2")],
            {"role": "user", "content": "b", "id": "3"},
            ("ai", "c"),
        ],
    )
    assert [(type(message), message.content) for message in found] == [
        (HumanMessage, "q"),
        (AIMessage, "a"),
        (HumanMessage, "b"),
        (AIMessage, "c"),
    ]


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises((ValueError, NotImplementedError)):
        messages_reducer([], [[object()]])
