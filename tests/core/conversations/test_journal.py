"""Reading the journal: without a gap and without repeats, whatever breaks in between."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest

from core.conversations import journal
from core.conversations.following import ReaderTooSlow, follow
from core.conversations.hub import Hub
from core.conversations.journal import Entry
from core.engine.mailbox import KEEP_EVENTS
from core.errors import Invalid, StoreUnavailable
from core.events import TextDelta, TurnFinished
from core.settings.groups import EngineSettings
from core.store import keys
from core.store.opening import open_store
from tests.support.desk import USER, Desk
from tests.support.fault_proxy import FaultProxy
from tests.support.readers import collect, open_hub, write
from tests.support.waiting import wait_until


async def read_on(
    desk: Desk,
    hub: Hub,
    thread: str,
    after: str = journal.START,
    *,
    begun: asyncio.Event | None = None,
) -> list[Entry]:
    """Entries as a client gets them, up to the end of a turn; ``begun`` is set with the first."""
    got: list[Entry] = []
    async with hub.subscribe(USER, thread) as subscription:
        batches = follow(desk.store, subscription, thread, after)
        async for entries in batches:
            got += entries
            if begun is not None:
                begun.set()
            if any(entry.type == "turn_finished" for entry in got):
                break
        await batches.aclose()
    return got


def ids(entries: list[Entry]) -> list[str]:
    return [entry.id for entry in entries]


# ---- form


async def test_a_publication_is_split_as_it_was_joined(desk: Desk, hub: Hub) -> None:
    thread = await desk.thread()
    nasty = 'a\x1e\x1f\n\r\u2028"\\ й \N{GRINNING FACE}'
    async with hub.subscribe(USER, thread) as subscription:
        await desk.send(thread, 'id "/й')
        turn = await desk.claim(thread)
        await desk.mailbox().emit(turn, 1, [TextDelta(nasty), TextDelta("")], desk.settings)
        heard: list[Entry] = []
        while len(heard) < 3:
            heard += await subscription.get() or []
    stored = await desk.entries(thread)
    assert [(e.id, e.run_id, e.type, e.data) for e in heard] == [
        (e.id, e.run_id, e.type, e.data) for e in stored
    ]
    assert orjson.loads(heard[1].data) == {"text": nasty}


async def test_a_frame_is_one_event(desk: Desk) -> None:
    thread = await desk.thread()
    turn = await write(desk, thread, count=1)
    entry = (await desk.entries(thread))[1]
    head, data, *rest = entry.frame.split(b"\ndata: ")
    assert head == f"id: {entry.id}\nevent: text_delta".encode()
    assert rest == []
    assert data.endswith(b"\n\n")
    body = orjson.loads(data)
    assert body.pop("at").endswith("Z")
    assert body == {
        "type": "text_delta",
        "thread_id": thread,
        "run_id": turn.run_id,
        "text": "m1.1 ",
    }


def test_an_event_without_fields_is_still_json() -> None:
    entry = Entry("t", "1-0", "r", "some", b"{}")
    assert orjson.loads(entry.json)["type"] == "some"


@pytest.mark.parametrize("bad", ["", "1", "a-b", "1-", "-1-0", "1-0 ", "٣-٠", "1-0\n", "9" * 40])
def test_ids_are_checked(bad: str) -> None:
    """Digits of other scripts went through to Redis, which refused them: a 503 for a typo."""
    with pytest.raises(Invalid):
        journal.check_id(bad)


async def test_the_largest_id_reads_nothing(desk: Desk) -> None:
    thread = await desk.thread()
    largest = journal.check_id("9" * 19 + "-" + "9" * 19)
    assert await journal.read(desk.store, thread, largest) == []


async def test_holds_knows_what_was_trimmed(desk: Desk) -> None:
    desk.settings = EngineSettings(journal_length=100)
    thread = await desk.thread()
    assert await journal.holds(desk.store, thread, journal.START)
    turn = await write(desk, thread, count=1)
    first, newest = ids(await desk.entries(thread))
    assert await journal.holds(desk.store, thread, first)
    assert await journal.last_id(desk.store, thread) == newest
    for number in range(2, 30):
        pieces = [TextDelta(str(i)) for i in range(20)]
        await desk.mailbox().emit(turn, number, pieces, desk.settings)
    assert not await journal.holds(desk.store, thread, first)


# ---- following


async def test_follow_from_every_entry_gives_the_same_bytes(desk: Desk, hub: Hub) -> None:
    thread = await desk.thread()
    turn = await write(desk, thread, count=8)
    await desk.finish(turn)
    whole = await desk.entries(thread)
    everything = b"".join(entry.frame for entry in whole)
    for cut in range(len(whole)):
        before = b"".join(entry.frame for entry in whole[:cut])
        after = whole[cut - 1].id if cut else journal.START
        rest = await read_on(desk, hub, thread, after)
        assert before + b"".join(entry.frame for entry in rest) == everything


async def test_readers_that_come_while_it_is_written_miss_nothing(desk: Desk, hub: Hub) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)

    async def writer() -> None:
        for number in range(1, 201):
            await desk.mailbox().emit(turn, number, [TextDelta(f"{number} ")], desk.settings)
        await desk.finish(turn)

    async def reader(number: int) -> list[Entry]:
        started = f"{number * 20} "
        await wait_until(lambda: _has(desk, thread, started))
        return await read_on(desk, hub, thread)

    readers = [asyncio.create_task(reader(number)) for number in range(1, 9)]
    await writer()
    whole = ids(await desk.entries(thread))
    for got in await asyncio.gather(*readers):
        assert ids(got) == whole


async def _has(desk: Desk, thread: str, text: str) -> bool:
    newest = await desk.redis.xrevrange(keys.journal(thread), count=1)
    return bool(newest) and int(orjson.loads(newest[0][1][b"d"]).get("text", "0")) >= int(text)


async def test_readers_come_and_go_in_the_same_instant(desk: Desk, hub: Hub) -> None:
    """The last reader left and a new one came: it was never subscribed, and heard nothing."""
    thread = await desk.thread()
    for number in range(30):
        async with hub.subscribe(USER, thread):
            pass
        async with hub.subscribe(USER, thread) as subscription:
            await desk.redis.publish(
                keys.user_channel(USER), f"{thread}\x1e{number + 1}-0\x1fr\x1fx\x1f{{}}"
            )
            entries: list[Entry] | None = None
            while not entries:
                entries = await asyncio.wait_for(subscription.get(), 2)
            assert ids(entries) == [f"{number + 1}-0"]


async def test_a_reader_hears_its_own_thread_only(desk: Desk, hub: Hub) -> None:
    mine, other = await desk.thread(), await desk.thread()
    foreign = await desk.thread(user="u2")
    async with hub.subscribe(USER, mine) as subscription:
        await desk.send(foreign, user="u2")
        await desk.claim(foreign)
        await write(desk, other, count=1)
        await write(desk, mine, count=1)
        heard: list[Entry] = []
        while len(heard) < 2:
            heard += await subscription.get() or []
    assert {entry.thread_id for entry in heard} == {mine}


async def test_a_cut_pub_sub_connection_leaves_no_gap(desk: Desk, hub: Hub) -> None:
    thread = await desk.thread()
    turn = await write(desk, thread, count=3)
    reading = asyncio.create_task(read_on(desk, hub, thread))
    for number in range(4, 40):
        if number % 12 == 0:
            await desk.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await desk.mailbox().emit(turn, number, [TextDelta(f"{number}")], desk.settings)
    await desk.finish(turn)
    got = await asyncio.wait_for(reading, 10)
    assert ids(got) == ids(await desk.entries(thread))


async def test_readers_go_on_after_a_long_outage(desk: Desk, proxy: FaultProxy) -> None:
    """Once the first attempt to connect again failed, no stream ever got another event."""
    thread = await desk.thread()
    turn = await write(desk, thread, count=1)
    async with open_store(proxy.url) as store, open_hub(proxy.url) as hub:
        begun = asyncio.Event()
        reading = asyncio.create_task(read_on(Desk(store), hub, thread, begun=begun))
        await begun.wait()
        proxy.mode = "reset"
        for number in range(2, 6):
            await desk.mailbox().emit(turn, number, [TextDelta(f"{number}")], desk.settings)
        await asyncio.wait([reading], timeout=1)
        proxy.mode = "pass"
        await desk.finish(turn)
        got = await asyncio.wait_for(reading, 10)
    assert ids(got) == ids(await desk.entries(thread))


async def test_no_stream_opens_while_redis_is_away(desk: Desk, proxy: FaultProxy) -> None:
    async with open_hub(proxy.url) as hub:
        proxy.mode = "reset"
        with pytest.raises(StoreUnavailable):
            async with hub.subscribe(USER, "t"):
                pass
        proxy.mode = "pass"
        async with hub.subscribe(USER, "t"):
            pass


async def test_a_slow_reader_is_dropped_and_others_go_on(desk: Desk, hub: Hub) -> None:
    thread = await desk.thread()
    async with (
        hub.subscribe(USER, thread) as slow,
        hub.subscribe(USER, thread) as quick,
    ):
        batches = follow(desk.store, quick, thread, journal.START)
        await desk.send(thread)
        turn = await desk.claim(thread)
        seen, number = 0, 0
        while not slow.dropped:
            number += 1
            await desk.mailbox().emit(turn, number, [TextDelta("x")] * 400, desk.settings)
            while seen < number * 400:
                seen += len(await anext(batches))
        assert not quick.dropped
        await batches.aclose()
        with pytest.raises(ReaderTooSlow):
            async for _ in follow(desk.store, slow, thread, journal.START):
                pass


async def test_a_closed_hub_ends_its_streams_and_opens_no_new_ones(desk: Desk, hub: Hub) -> None:
    thread = await desk.thread()
    turn = await write(desk, thread, count=1)
    begun = asyncio.Event()
    reading = asyncio.create_task(read_on(desk, hub, thread, begun=begun))
    await begun.wait()
    hub.close_readers()
    assert turn.run_id in {entry.run_id for entry in await reading}
    assert await asyncio.wait_for(read_on(desk, hub, thread), 2) == []


# ---- all threads of a user


async def test_one_stream_for_all_threads(desk: Desk, hub: Hub) -> None:
    threads = [await desk.thread() for _ in range(3)]
    async with hub.subscribe(USER, None) as subscription:
        reading = asyncio.create_task(collect(desk, subscription, None, ends=3))
        for thread in threads:
            await desk.finish(await write(desk, thread, count=4))
        got = await asyncio.wait_for(reading, 5)
    for thread in threads:
        mine = [entry for entry in got if entry.thread_id == thread]
        assert ids(mine) == ids(await desk.entries(thread))


async def test_one_stream_resumes_with_what_was_missed(desk: Desk, hub: Hub) -> None:
    threads = [await desk.thread() for _ in range(2)]
    for thread in threads:
        await desk.finish(await write(desk, thread, count=4))
    whole = [entry for thread in threads for entry in await desk.entries(thread)]
    cut = whole[2]
    async with hub.subscribe(USER, None) as subscription:
        got = await asyncio.wait_for(collect(desk, subscription, cut.id, ends=2), 5)
    assert {e.id for e in whole if e.order > cut.order} <= {e.id for e in got}
    assert len({(e.thread_id, e.id) for e in got}) == len(got)


async def test_one_stream_from_the_very_beginning(desk: Desk, hub: Hub) -> None:
    """`since=0-0` asked Redis for the id -1 and broke the stream."""
    thread = await desk.thread()
    await desk.finish(await write(desk, thread, count=2))
    async with hub.subscribe(USER, None) as subscription:
        got = await asyncio.wait_for(collect(desk, subscription, "0-0", ends=1), 5)
    assert ids(got) == ids(await desk.entries(thread))


async def test_one_stream_without_a_start_misses_nothing_when_the_connection_is_cut(
    desk: Desk, hub: Hub
) -> None:
    thread = await desk.thread()
    async with hub.subscribe(USER, None) as subscription:
        await desk.redis.config_resetstat()
        reading = asyncio.create_task(collect(desk, subscription, None, ends=1))
        await wait_until(lambda: _asked_the_time(desk))
        await desk.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await desk.finish(await write(desk, thread, count=3), events=[TurnFinished("completed")])
        got = await asyncio.wait_for(reading, 10)
    assert ids(got) == ids(await desk.entries(thread))


async def _asked_the_time(desk: Desk) -> bool:
    return "cmdstat_time" in await desk.redis.info("commandstats")


async def test_the_hub_forgets_readers(desk: Desk, hub: Hub) -> None:
    for _ in range(5):
        async with hub.subscribe(USER, None):
            pass
    left: Any = hub._readers  # pyright: ignore[reportPrivateUsage] - a leak shows nowhere else
    assert sum(len(readers) for readers in left.values()) == 0


async def test_events_of_yesterdays_turns_leave_the_journal(desk: Desk) -> None:
    thread = await desk.thread()
    yesterday = round(time.time() * 1000) - (KEEP_EVENTS + 60) * 1000
    name = keys.journal(thread)
    for number in range(500):
        fields = {"r": "x", "t": "text_delta", "d": '{"text":"old"}'}
        await desk.redis.xadd(name, fields, id=f"{yesterday + number}-0")
    await desk.send(thread)
    await desk.finish(await desk.claim(thread))
    # Redis frees whole blocks of up to a hundred entries.
    assert await desk.redis.xlen(name) < 110
    assert [kind for kind, _ in await desk.told(thread)][-2:] == ["turn_started", "turn_finished"]


async def test_runs_are_named_in_full_however_they_are_stored(desk: Desk) -> None:
    """Entries of earlier versions repeat the thread in each run id."""
    thread = await desk.thread()
    run = (await desk.send(thread)).run_id
    fields = {"r": run, "t": "notice", "d": '{"level":"info","text":"x"}'}
    await desk.redis.xadd(keys.journal(thread), fields)
    await desk.claim(thread)
    assert {entry.run_id for entry in await desk.entries(thread)} == {run}
    [_, (_, stored)] = await desk.redis.xrange(keys.journal(thread))
    assert f"{thread}.{stored[b'r'].decode()}" == run
