"""Messages as rows: exactly the same when read again, or left to LangGraph's serializer."""

from __future__ import annotations

from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import (
    _DeltaSnapshot,  # pyright: ignore[reportPrivateUsage] - what a delta channel stores
)

from graph.checkpoint.codec import UNREADABLE, dump, read
from graph.checkpoint.rows import pack, unpack

SERDE = JsonPlusSerializer(allowed_msgpack_modules=None)

CALL: dict[str, Any] = {"name": "add", "args": {"a": 1, "b": [1.5, None, {"c": True}]}, "id": "c1"}
KEPT: list[AnyMessage] = [
    HumanMessage("Hi", id="m1"),
    HumanMessage("", id="m1", name="ann", additional_kwargs={"internal": True}),
    SystemMessage("Be kind.", id="s1"),
    AIMessage("Hello", id="a1", response_metadata={"m": "qwen", "u": [1, 2, False]}),
    AIMessage("", id="a2", tool_calls=[CALL, {**CALL, "id": None}]),
    ToolMessage("3", tool_call_id="c1", id="r1", name="add"),
    ToolMessage("no", tool_call_id="c1", status="error", additional_kwargs={"outcome": "refused"}),
]
LEFT: list[object] = [
    HumanMessage([{"type": "text", "text": "an image"}]),
    HumanMessage("x", additional_kwargs={"pair": (1, 2)}),
    HumanMessage("x", additional_kwargs={"large": 2**70}),
    HumanMessage("x", additional_kwargs={1: "x"}),
    HumanMessage.model_validate({"content": "x", "mood": "glad"}),
    HumanMessage("half \ud83d"),
    AIMessage("x", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    AIMessage("x", invalid_tool_calls=[{"name": "a", "args": "{", "id": "c", "error": "e"}]),
    AIMessageChunk(content="x"),
    ToolMessage("x", tool_call_id="c", artifact={"a": 1}),
    RemoveMessage(id="m1"),
    {"role": "user", "content": "x"},
]


@pytest.mark.parametrize("message", KEPT)
def test_messages_of_a_conversation(message: AnyMessage) -> None:
    data = pack([message, message])
    assert data is not None
    assert unpack(data) == [message, message]
    assert len(data) < len(SERDE.dumps_typed([message, message])[1])


@pytest.mark.parametrize("message", LEFT)
def test_what_a_row_would_not_keep_is_left_to_the_serializer(message: object) -> None:
    assert pack([KEPT[0], message]) is None


@pytest.mark.parametrize("message", [LEFT[0], LEFT[4], LEFT[6], LEFT[7], LEFT[10]])
def test_it_is_still_stored(message: object) -> None:
    value = [KEPT[0], message]
    assert read(SERDE, dump(SERDE, value)) == value


def test_deep_nesting_is_left_to_the_serializer() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert pack([HumanMessage("x", additional_kwargs={"deep": deep})]) is None


words = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
plain: st.SearchStrategy[Any] = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
about: st.SearchStrategy[dict[str, Any]] = st.dictionaries(words, plain, max_size=2)
calls: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"name": words, "args": about, "id": st.none() | words}
)
messages = st.one_of(
    st.builds(HumanMessage, words, id=st.none() | words, response_metadata=about),
    st.builds(SystemMessage, words, name=st.none() | words),
    st.builds(AIMessage, words, tool_calls=st.lists(calls, max_size=2), id=words),
    st.builds(ToolMessage, words, tool_call_id=words, name=st.none() | words),
)


@given(st.lists(messages, max_size=4))
def test_every_message_is_read_as_it_was(found: list[AnyMessage]) -> None:
    before = [message.model_dump() for message in found]
    again = read(SERDE, dump(SERDE, found))
    assert [type(message) for message in again] == [type(message) for message in found]
    assert [message.model_dump() for message in again] == before


def test_the_window_of_a_delta_channel() -> None:
    stored = dump(SERDE, _DeltaSnapshot(KEPT))
    assert len(stored) < len(dump(SERDE, KEPT)) + 10
    assert read(SERDE, stored) == _DeltaSnapshot(KEPT)
    assert isinstance(read(SERDE, stored), _DeltaSnapshot)


def test_an_empty_list_is_a_list_and_no_window() -> None:
    assert read(SERDE, dump(SERDE, [])) == []


@pytest.mark.parametrize(
    "rows", [[[9, "x"]], [[0]], ["x"], [[3, "x", "id"]], [[0, 7]], 5, [[2, "x", "i", 0, 0, 0, 3]]]
)
def test_damaged_rows_are_refused(rows: object) -> None:
    with pytest.raises(UNREADABLE):
        read(SERDE, bytes((4,)) + ormsgpack.packb(rows))
