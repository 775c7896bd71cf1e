"""What came in, as the inbox stores it and a worker gets it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.conversations.inbound import (
    KINDS,
    Decision,
    Inbound,
    Message,
    Reminder,
    Unreadable,
    decode,
    encode,
)
from core.conversations.inbox import Bus
from core.conversations.threads import Threads
from core.errors import Invalid, TooLarge
from core.events import Json
from core.settings.groups import EngineSettings
from tests.support.desk import USER, Desk

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
MOMENT = st.datetimes(timezones=st.just(UTC))
HEAD: dict[str, Any] = {
    "id": st.just("m1"),
    "user_id": st.just(USER),
    "thread_id": st.just("t"),
    "channel": st.text(),
    "created_at": MOMENT,
}
FIELDS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(0, 9) | st.text())
MESSAGES = st.builds(
    Message,
    **HEAD,
    text=st.text(),
    autonomous=st.none() | st.booleans(),
    history=st.lists(FIELDS, max_size=2).map(tuple),
    retry_of=st.none() | st.text(),
)
DECISIONS = st.builds(Decision, **HEAD, arguments=st.none() | FIELDS)
REMINDERS = st.builds(Reminder, **HEAD, due=MOMENT)


def read(body: bytes) -> Inbound | Unreadable:
    return decode(body, message_id="m1", thread_id="t", user_id=USER)


@given(MESSAGES | DECISIONS | REMINDERS)
def test_what_was_stored_is_read(inbound: Inbound) -> None:
    assert read(encode(inbound)) == inbound


def test_a_message_is_stored_as_it_always_was() -> None:
    plain = Message("m1", USER, "t", "web", "Hi", created_at=AT)
    assert encode(plain) == b'{"c":"web","x":"Hi","at":"2026-01-02T03:04:05.678000+00:00"}'
    history: tuple[dict[str, Json], ...] = ({"role": "user", "content": "before"},)
    full = Message("m1", USER, "t", "web", "Hi", True, history, "m0", created_at=AT)
    stored = orjson.loads(encode(full))
    assert list(stored) == ["c", "x", "at", "a", "h", "r"]


@given(st.binary(max_size=40) | FIELDS.map(orjson.dumps) | st.sampled_from(list(KINDS)))
def test_a_reader_never_fails(body: bytes | str) -> None:
    raw = orjson.dumps({"k": body, "c": "web", "at": "never"}) if isinstance(body, str) else body
    assert isinstance(read(raw), Unreadable)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"k":"hologram","c":"web"}', "a kind that this version does not know ('hologram')"),
        (b'{"c":"web","at":"2026-01-02T03:04:05+00:00"}', "damaged (KeyError('x'))"),
        (b"[]", "damaged"),
        (
            b'{"k":"decision","c":"web","at":"2026-01-02T03:04:05+00:00","d":"maybe","ap":"a"}',
            "a decision that this version does not know",
        ),
    ],
)
def test_what_cannot_be_read_says_why(body: bytes, why: str) -> None:
    unreadable = read(body)
    assert isinstance(unreadable, Unreadable)
    assert why in unreadable.why


async def test_all_kinds_reach_the_worker_and_only_messages_are_shown_as_words_of_the_user(
    desk: Desk,
) -> None:
    thread, bus = await desk.thread(), Bus(desk.store)
    sent: list[Inbound] = [
        Message("m1", USER, thread, "web", "Hi"),
        Decision("m2", USER, thread, "web", "a1", "approve", {"n": 1}, "fine"),
        Reminder("m3", USER, thread, "tasks", "k1", "Call Ada", AT),
    ]
    for inbound in sent:
        await bus.submit(inbound, desk.settings)
    page = await Threads(desk.store).page(thread, limit=10, before=None)
    assert [(m["id"], m["role"]) for m in page.messages] == [("m1", "user")]
    assert [m["id"] for m in await Threads(desk.store).everything(thread)] == ["m1"]
    for inbound in sent:
        turn = await desk.claim(thread)
        assert turn.inbound == inbound
        await desk.finish(turn, records=[], take_next=False)


async def test_other_kinds_have_limits_too(desk: Desk) -> None:
    thread, bus = await desk.thread(), Bus(desk.store)
    small = EngineSettings(max_message_bytes=1024)
    with pytest.raises(TooLarge):
        await bus.submit(Reminder("m", USER, thread, "tasks", "k", "a" * 1025, AT), small)
    with pytest.raises(TooLarge):
        await bus.submit(Decision("m", USER, thread, "web", "a", "refuse", None, "a" * 1025), small)
    with pytest.raises(Invalid):
        await bus.submit(Decision("m", USER, thread, "web", "", "refuse"), small)
    with pytest.raises(Invalid, match="empty"):
        await bus.submit(Reminder("m", USER, thread, "tasks", "k", " ", AT), small)


async def test_a_reminder_names_a_new_conversation(desk: Desk) -> None:
    thread = await desk.thread()
    await Bus(desk.store).submit(
        Reminder("m", USER, thread, "tasks", "k", "Call\nAda", AT), desk.settings
    )
    assert (await Threads(desk.store).get(USER, thread)).title == "Call Ada"
