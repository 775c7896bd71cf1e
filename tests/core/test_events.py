"""Events as bytes and back: what was written is what a reader gets, and no reader fails."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.stream import frame
from core.conversations.journal import Entry
from core.events import (
    EVENT_TYPES,
    READERS,
    Event,
    MessageCompleted,
    Reset,
    ServerShutdown,
    StatusChanged,
    TextDelta,
    ThreadDeleted,
    Trouble,
    TurnStarted,
    Unknown,
    Usage,
    decode,
    from_fields,
    payload,
)

WHOLE = st.integers(0, 2**40)
LEAF = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text()
JSON = st.recursive(LEAF, lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=5)
st.register_type_strategy(Usage, st.builds(Usage, WHOLE, WHOLE, st.booleans()))


def any_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Any event of a type."""
    special: dict[str, st.SearchStrategy[Any]] = {
        "arguments": st.dictionaries(st.text(), JSON),
        "attempt": WHOLE,
    }
    names = set(kind.__dataclass_fields__)
    return st.builds(kind, **{name: how for name, how in special.items() if name in names})


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.type)
def test_what_was_written_is_read(kind: type[Event]) -> None:
    @given(any_of(kind))
    def check(event: Event) -> None:
        assert decode(event.type, payload(event)) == event
        assert Entry("t", "1-0", "t.r", event.type, payload(event)).event == event

    check()


def test_every_type_has_a_reader_and_a_name_of_its_own() -> None:
    assert list(READERS) == [kind.type for kind in EVENT_TYPES]


JUNK = st.binary(max_size=40) | st.builds(orjson.dumps, JSON)


@given(st.sampled_from(list(READERS)), JUNK)
def test_a_reader_never_fails(kind: str, data: bytes) -> None:
    event = decode(kind, data)
    assert event.type == kind


def test_what_a_newer_version_writes_is_passed_over() -> None:
    assert decode("hologram", b'{"depth":3}') == Unknown("hologram", {"depth": 3})
    assert decode("text_delta", b'{"text":"a","colour":"red"}') == TextDelta("a")
    assert decode("turn_finished", b'{"status":"paused"}').type == "turn_finished"
    assert isinstance(decode("turn_finished", b'{"status":"paused"}'), Unknown)


def test_what_an_older_version_wrote_is_read() -> None:
    assert decode("turn_started", b'{"message_id":"m"}') == TurnStarted("m", 1)
    bare = {"message_id": "a", "text": "Hi", "usage": {"prompt_tokens": 3}, "model": ""}
    assert from_fields("message_completed", bare) == MessageCompleted("a", "Hi", Usage(3), "")


def test_events_outside_the_journal_look_as_the_contract_says() -> None:
    assert frame(ServerShutdown()) == b"event: server_shutdown\ndata: {}\n\n"
    assert frame(Reset()) == b"event: reset\ndata: {}\n\n"
    assert frame(StatusChanged(None)) == b'event: status\ndata: {"trouble":null}\n\n'
    told = frame(StatusChanged(Trouble("no_worker", "start one")))
    data = b'{"trouble":{"code":"no_worker","detail":"start one"}}'
    assert told == b"event: status\ndata: " + data + b"\n\n"
    assert payload(ThreadDeleted()) == b"{}"
