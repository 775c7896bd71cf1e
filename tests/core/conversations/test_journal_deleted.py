"""Readers of a thread that is deleted: they are told, and they end."""

from __future__ import annotations

import asyncio

import pytest

from core.conversations import journal
from core.conversations.following import follow
from core.conversations.hub import Hub
from core.conversations.journal import Entry
from core.conversations.threads import Threads
from core.errors import Fenced, NotFound
from core.events import TextDelta
from core.store import keys, scripts
from core.store.opening import open_store
from tests.support.desk import USER, Desk
from tests.support.fault_proxy import FaultProxy
from tests.support.readers import collect, open_hub, write
from tests.support.waiting import wait_until


async def read_to_the_end(
    desk: Desk, hub: Hub, thread: str, after: str = journal.START
) -> list[Entry]:
    got: list[Entry] = []
    async with hub.subscribe(USER, thread) as subscription:
        async for entries in follow(desk.store, subscription, thread, after):
            got += entries
    return got


async def test_readers_of_a_deleted_thread_are_told_and_end(desk: Desk, hub: Hub) -> None:
    """They waited for ever for events of a thread that was gone."""
    thread, other = await desk.thread(), await desk.thread()
    turn = await write(desk, thread, count=2)
    async with hub.subscribe(USER, None) as everything:
        readers = [
            asyncio.create_task(read_to_the_end(desk, hub, name)) for name in (thread, thread)
        ]
        reading = asyncio.create_task(collect(desk, everything, None, ends=1))
        await wait_until(lambda: len(hub.readers(USER)) == 3)
        await Threads(desk.store).delete(USER, thread)
        for got in await asyncio.wait_for(asyncio.gather(*readers), 10):
            assert (got[-1].type, got[-1].run_id, got[-1].data) == ("thread_deleted", "", b"{}")
            assert sorted({entry.order for entry in got}) == [entry.order for entry in got]
            assert {entry.run_id for entry in got} <= {turn.run_id, ""}
        await desk.finish(await write(desk, other, count=1))
        told = await asyncio.wait_for(reading, 10)
    assert [e.thread_id for e in told if e.type == "thread_deleted"] == [thread]
    assert told[-1].thread_id == other
    with pytest.raises(Fenced):
        await desk.mailbox().emit(turn, 3, [TextDelta("late")], desk.settings)


async def test_a_reader_that_comes_just_after_the_deletion_is_told_too(
    desk: Desk, hub: Hub
) -> None:
    thread = await desk.thread()
    await desk.finish(await write(desk, thread, count=1))
    last = await journal.last_id(desk.store, thread)
    await Threads(desk.store).delete(USER, thread)
    for after in (journal.START, last):
        (entry,) = await asyncio.wait_for(read_to_the_end(desk, hub, thread, after), 5)
        assert entry.type == "thread_deleted"
        assert entry.order > journal.order(after)


async def test_a_deletion_during_an_outage_is_found_out_afterwards(
    desk: Desk, proxy: FaultProxy
) -> None:
    thread = await desk.thread()
    await write(desk, thread, count=1)
    async with open_store(proxy.url) as store, open_hub(proxy.url) as hub:
        reading = asyncio.create_task(read_to_the_end(Desk(store), hub, thread))
        await wait_until(lambda: len(hub.readers(USER)) == 1)
        proxy.mode = "reset"
        await Threads(desk.store).delete(USER, thread)
        await asyncio.wait([reading], timeout=0.5)
        proxy.mode = "pass"
        got = await asyncio.wait_for(reading, 20)
    assert got[-1].type == "thread_deleted"


async def test_the_last_entry_is_the_latest_also_when_the_clock_was_set_back(
    desk: Desk, hub: Hub
) -> None:
    thread = await desk.thread()
    ahead = 9_999_999_999_999
    fields = {"r": "run", "t": "notice", "d": "{}"}
    await desk.redis.xadd(keys.journal(thread), fields, id=f"{ahead}-7")
    reading = asyncio.create_task(read_to_the_end(desk, hub, thread, f"{ahead}-6"))
    await wait_until(lambda: len(hub.readers(USER)) == 1)
    await Threads(desk.store).delete(USER, thread)
    got = await asyncio.wait_for(reading, 10)
    assert got[-1].type == "thread_deleted"
    assert got[-1].order > (ahead, 6)


async def test_a_thread_of_somebody_else_is_neither_deleted_nor_announced(
    desk: Desk, hub: Hub
) -> None:
    thread = await desk.thread()
    call = scripts.delete(
        deleted=keys.deleted(),
        pending=keys.pending(),
        user_threads=keys.user_threads("u2"),
        meta=keys.meta(thread),
        journal=keys.journal(thread),
        names=keys.of_thread(thread),
        user="u2",
        thread=thread,
        channel=keys.user_channel("u2"),
    )
    assert await desk.store.script(call) == 0
    assert await desk.redis.exists(keys.meta(thread))
    with pytest.raises(NotFound):
        await Threads(desk.store).delete("u2", thread)
