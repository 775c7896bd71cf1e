"""Conversations and user data as they are stored."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from core.accounts.profile import MAX_ENTRIES, Profiles
from core.conversations.threads import Threads
from core.conversations.transcript import pack_record, read_record
from core.errors import Invalid, NotFound
from core.events import TextDelta
from core.store import keys
from tests.support.desk import USER, Desk


def answer(to: str, text: str) -> bytes:
    return orjson.dumps({"id": f"a-{text}", "role": "assistant", "answer_to": to, "text": text})


def asked(name: str) -> bytes:
    return orjson.dumps({"id": name, "role": "user", "text": name})


async def converse(desk: Desk, thread: str, count: int) -> None:
    for number in range(count):
        name = f"m{number}"
        await desk.send(thread, name)
        turn = await desk.claim(thread)
        await desk.finish(turn, records=[asked(name), answer(name, f"to {name}")])


async def test_a_thread_is_its_users_only(desk: Desk) -> None:
    threads = Threads(desk.store)
    made = await threads.create(USER, title="  Mine\n ")
    assert (await threads.get(USER, made.id)).title == "Mine"
    for act in (threads.get, threads.delete):
        with pytest.raises(NotFound):
            await act("u2", made.id)
    with pytest.raises(NotFound):
        await threads.rename("u2", made.id, "Theirs")
    assert await threads.listed("u2", limit=10, cursor=None) == ([], None)


async def test_titles_are_checked(desk: Desk) -> None:
    threads = Threads(desk.store)
    made = await threads.create(USER)
    for bad in ("", "  ", "x" * 201):
        with pytest.raises(Invalid):
            await threads.rename(USER, made.id, bad)
    assert (await threads.rename(USER, made.id, "a\ud800b")).title == "a\ufffdb"


async def test_threads_of_one_millisecond_are_all_listed(desk: Desk) -> None:
    """The cursor was the time alone: whatever else was made in that millisecond fell out."""
    made = [await desk.thread() for _ in range(10)]
    await desk.redis.zadd(keys.user_threads(USER), {name: 1000 for name in made[:7]})
    threads, cursor = Threads(desk.store), None
    found: list[str] = []
    for _ in range(20):
        page, cursor = await threads.listed(USER, limit=2, cursor=cursor)
        found += [thread.id for thread in page]
        if cursor is None:
            break
    assert sorted(found) == sorted(made)


@pytest.mark.parametrize("bad", ["", "x", "1", "²", "1.x", "-1.0", "1.0\n"])
async def test_cursors_are_checked(desk: Desk, bad: str) -> None:
    with pytest.raises(Invalid):
        await Threads(desk.store).listed(USER, limit=1, cursor=bad)


async def test_the_last_used_thread_comes_first_and_ephemeral_ones_never(desk: Desk) -> None:
    first, second = await desk.thread(), await desk.thread()
    await desk.thread(ttl=60)
    await desk.redis.zadd(keys.user_threads(USER), {first: 1, second: 2})
    await desk.send(first)
    page, _ = await Threads(desk.store).listed(USER, limit=10, cursor=None)
    assert [thread.id for thread in page] == [first, second]


async def test_pages_go_back_to_the_beginning(desk: Desk) -> None:
    thread, threads = await desk.thread(), Threads(desk.store)
    await converse(desk, thread, 5)
    names: list[str] = []
    before: int | None = None
    while True:
        page = await threads.page(thread, limit=3, before=before)
        names = [str(m["id"]) for m in page.messages] + names
        if (before := page.before) is None:
            break
    assert names == [name for n in range(5) for name in (f"m{n}", f"a-to m{n}")]


async def test_a_cursor_beyond_the_end_is_the_end(desk: Desk) -> None:
    """It came back unchanged, and a client that followed it never ended."""
    thread = await desk.thread()
    await converse(desk, thread, 2)
    page = await Threads(desk.store).page(thread, limit=3, before=1000)
    assert (len(page.messages), page.before) == (3, 1)
    assert (await Threads(desk.store).page(thread, limit=3, before=0)).messages == []


async def test_waiting_messages_are_part_of_the_page(desk: Desk) -> None:
    thread = await desk.thread()
    await converse(desk, thread, 1)
    await desk.send(thread, "next", "What now?")
    page = await Threads(desk.store).page(thread, limit=10, before=None)
    assert [(m["id"], m.get("status")) for m in page.messages][-1] == ("next", "queued")
    assert await Threads(desk.store).has_work(thread)


async def test_events_since_is_where_the_running_turn_begins(desk: Desk) -> None:
    thread, threads = await desk.thread(), Threads(desk.store)
    await converse(desk, thread, 1)
    idle = await threads.page(thread, limit=10, before=None)
    await desk.send(thread, "next")
    turn = await desk.claim(thread)
    for number in range(1, 450):
        await desk.mailbox().emit(turn, number, [TextDelta("x")], desk.settings)
    page = await threads.page(thread, limit=10, before=None)
    assert (page.running_run_id, page.events_since) == (turn.run_id, idle.events_since)
    entries = await desk.entries(thread)
    after = [entry for entry in entries if entry.id > page.events_since]
    assert {entry.run_id for entry in entries if entry in after} == {turn.run_id}


async def test_of_several_answers_the_last_one_is_shown(desk: Desk) -> None:
    thread, threads = await desk.thread(), Threads(desk.store)
    await converse(desk, thread, 1)
    await desk.send(thread, "again", retry_of="m0")
    assert len((await threads.page(thread, limit=10, before=None)).messages) == 2
    await desk.finish(await desk.claim(thread), records=[answer("m0", "better")])
    page = await threads.page(thread, limit=10, before=None)
    assert [m["text"] for m in page.messages] == ["m0", "better"]
    last = await threads.last_user_message(thread)
    assert last is not None
    assert last["id"] == "m0"


async def test_deletion_removes_every_key(desk: Desk) -> None:
    thread = await desk.thread()
    await converse(desk, thread, 2)
    await desk.send(thread, "waiting")
    await Threads(desk.store).delete(USER, thread)
    assert await desk.redis.keys(f"*{thread}*") == []
    assert await desk.redis.zscore(keys.user_threads(USER), thread) is None


# ---- user data


async def test_a_profile(desk: Desk) -> None:
    profiles = Profiles(desk.store)
    await profiles.update(USER, {"Name": "Ада", "time-zone": "Europe/Berlin", "language": "RU"})
    assert await profiles.get(USER) == {
        "name": "Ада",
        "time_zone": "Europe/Berlin",
        "language": "ru",
    }
    assert await profiles.update(USER, {"name": None, "language": ""}) == {
        "time_zone": "Europe/Berlin"
    }
    assert await profiles.get("u2") == {}
    await profiles.clear(USER)
    assert await profiles.get(USER) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../../etc/passwd"),
        ("time_zone", "/etc/localtime"),
        ("time_zone", "Europe"),
        ("time_zone", "x" * 900),
        ("language", "klingon"),
        ("", "x"),
        ("a b!", "x"),
        ("k" * 65, "x"),
        ("name", "x" * 1001),
    ],
)
async def test_bad_user_data_change_nothing(desk: Desk, key: str, value: str) -> None:
    profiles = Profiles(desk.store)
    with pytest.raises(Invalid):
        await profiles.update(USER, {"name": "Ada", key: value})
    assert await profiles.get(USER) == {}


async def test_a_profile_does_not_grow_for_ever(desk: Desk) -> None:
    profiles = Profiles(desk.store)
    await profiles.update(USER, {f"k{n}": "v" for n in range(MAX_ENTRIES)})
    with pytest.raises(Invalid, match="at most"):
        await profiles.update(USER, {"one_more": "v"})
    await profiles.update(USER, {"k1": "changed", "k2": ""})


@pytest.mark.parametrize(
    "record",
    [
        {"id": "a", "role": "user", "text": "Hi", "tools": [], "status": "completed"},
        {"id": "a", "role": "assistant", "text": "", "tools": [{"name": "x"}], "status": "failed"},
        {"id": "a", "tools": [], "status": "cancelled", "error": None},
    ],
)
def test_a_stored_message_is_whole_again_when_read(record: dict[str, Any]) -> None:
    stored = pack_record(record)
    assert read_record(stored) == record
    assert read_record(orjson.dumps(record)) == record, "as older versions stored it"
    assert b"completed" not in stored
    assert read_record(stored)["tools"] is not read_record(stored)["tools"]
