"""The way in: accepted once, in order, by the owner only."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from core.conversations.inbound import Message
from core.conversations.inbox import KEEP_IDS_MS, Bus, title_of
from core.conversations.threads import Threads
from core.errors import InboxFull, Invalid, NotFound, TooLarge
from core.ids import new_id, run_id_for, thread_of_run
from core.settings.groups import EngineSettings
from core.store import keys
from core.store.client import Store
from core.store.opening import open_store
from tests.support.desk import USER, Desk
from tests.support.fault_proxy import FaultProxy
from tests.support.waiting import wait_until


async def inbox_ids(desk: Desk, thread: str) -> list[str]:
    return [row[1][b"i"].decode() for row in await desk.redis.xrange(keys.inbox(thread))]


async def test_messages_wait_in_the_order_of_arrival(desk: Desk) -> None:
    thread = await desk.thread()
    for number in range(5):
        accepted = await desk.send(thread, f"m{number}")
        assert not accepted.duplicate
        assert accepted.run_id == run_id_for(thread, f"m{number}")
    assert await inbox_ids(desk, thread) == ["m0", "m1", "m2", "m3", "m4"]
    assert await desk.redis.hget(keys.pending(), thread) == b"m4"
    assert await desk.redis.lrange(keys.doorbell(), 0, -1) == [f"{thread}\x1fu1".encode()] * 5


async def test_the_same_id_again_is_the_same_message(desk: Desk) -> None:
    thread = await desk.thread()
    first = await desk.send(thread, "m1", "one")
    again = await desk.send(thread, "m1", "another text")
    assert (again.run_id, again.duplicate) == (first.run_id, True)
    assert await inbox_ids(desk, thread) == ["m1"]


async def test_an_id_dedupes_after_its_turn_ended_too(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    await desk.finish(await desk.claim(thread))
    assert (await desk.send(thread)).duplicate
    assert await desk.waiting(thread) == 0


async def test_an_id_dedupes_for_25_hours_and_no_longer(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    [(_, at)] = await desk.redis.zrange(keys.seen(thread), 0, -1, withscores=True)
    await desk.redis.zadd(keys.seen(thread), {"m1": at - KEEP_IDS_MS - 1})
    assert not (await desk.send(thread)).duplicate


async def test_twenty_at_once_with_one_id_are_one_message(desk: Desk) -> None:
    thread = await desk.thread()
    answers = await asyncio.gather(*(desk.send(thread) for _ in range(20)))
    assert [answer.duplicate for answer in answers].count(False) == 1
    assert await inbox_ids(desk, thread) == ["m1"]


async def test_a_full_inbox_refuses_and_takes_again_later(desk: Desk) -> None:
    thread = await desk.thread()
    desk.settings = EngineSettings(max_inbox=2)
    await desk.send(thread, "m1")
    await desk.send(thread, "m2")
    with pytest.raises(InboxFull) as caught:
        await desk.send(thread, "m3")
    assert caught.value.status == 429
    assert caught.value.retry_after > 0
    assert (await desk.send(thread, "m2")).duplicate, "a repeated message needs no room"
    await desk.finish(await desk.claim(thread))
    assert not (await desk.send(thread, "m3")).duplicate


@pytest.mark.parametrize("thread", ["t_none", "", "a:b}", "\N{SNOWMAN}"])
async def test_an_unknown_thread_takes_nothing(desk: Desk, thread: str) -> None:
    with pytest.raises(NotFound):
        await desk.send(thread)
    assert not await desk.redis.exists(keys.inbox(thread), keys.seen(thread), keys.meta(thread))


async def test_another_users_thread_takes_nothing(desk: Desk) -> None:
    thread = await desk.thread(user="somebody")
    with pytest.raises(NotFound):
        await desk.send(thread, user=USER)
    assert await desk.waiting(thread) == 0


async def test_a_deleted_thread_takes_nothing(desk: Desk) -> None:
    thread = await desk.thread()
    await Threads(desk.store).delete(USER, thread)
    with pytest.raises(NotFound):
        await desk.send(thread)


async def test_text_is_checked_and_cleaned(desk: Desk) -> None:
    thread = await desk.thread()
    desk.settings = EngineSettings(max_message_bytes=1024)
    for empty in ("", " \n\t ", "\x00"):
        with pytest.raises(Invalid, match="empty"):
            await desk.send(thread, "m0", empty)
    with pytest.raises(TooLarge):
        await desk.send(thread, "m0", "ж" * 513)
    await desk.send(thread, "m1", "a\x00b\ud800c")
    turn = await desk.claim(thread)
    assert isinstance(turn.inbound, Message)
    assert turn.inbound.text == "ab\ufffdc"


@pytest.mark.parametrize("bad", ["", "x" * 129, "a\nb", "\x00", "\ud800"])
async def test_ids_are_checked(desk: Desk, bad: str) -> None:
    thread = await desk.thread()
    with pytest.raises(Invalid):
        await desk.send(thread, bad)


async def test_everything_of_a_message_reaches_the_worker(desk: Desk) -> None:
    thread = await desk.thread()
    history = ({"role": "user", "content": "before"},)
    await desk.send(thread, "й/\"'", "text", autonomous=True, history=history, retry_of="m0")
    turn = await desk.claim(thread)
    message = turn.inbound
    assert isinstance(message, Message)
    assert (message.id, message.text, message.autonomous) == ("й/\"'", "text", True)
    assert (message.history, message.retry_of, message.user_id) == (history, "m0", USER)
    assert message.created_at.tzinfo is not None
    started = orjson.loads((await desk.entries(thread))[0].data)
    assert started == {"message_id": "й/\"'", "attempt": 1}


async def test_the_first_message_gives_the_thread_its_title(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread, "m1", "  How\nare   you? ")
    await desk.send(thread, "m2", "Second")
    assert (await Threads(desk.store).get(USER, thread)).title == "How are you?"
    assert len(title_of("word " * 100)) <= 60


async def test_every_key_of_an_ephemeral_thread_expires(desk: Desk) -> None:
    thread = await desk.thread(ttl=100)
    await desk.send(thread)
    for name in (keys.meta(thread), keys.inbox(thread), keys.seen(thread)):
        assert 0 < await desk.redis.ttl(name) <= 100, name


async def test_a_run_names_its_thread() -> None:
    thread = new_id("t")
    assert thread_of_run(run_id_for(thread, "m1")) == thread
    for bad in ("", "x", ".x", "x."):
        with pytest.raises(NotFound):
            thread_of_run(bad)


async def test_cancel_leaves_a_flag_that_expires(desk: Desk) -> None:
    thread = await desk.thread()
    run = (await desk.send(thread)).run_id
    await Bus(desk.store).cancel(run)
    assert 0 < await desk.redis.ttl(keys.cancel_flag(thread, run)) <= 3600


async def test_submit_after_a_restart_that_forgot_the_scripts(desk: Desk) -> None:
    """A restarted Redis knows no scripts."""
    thread = await desk.thread()
    await desk.redis.script_flush()
    assert not (await desk.send(thread)).duplicate
    assert await inbox_ids(desk, thread) == ["m1"]


async def test_messages_of_a_clock_that_stands_still_or_goes_back_are_each_ended(
    desk: Desk,
) -> None:
    """The id of an entry was the clock's alone, once the emptied inbox was gone: a message of the
    millisecond in which the one before had ended was taken for that one, and never ended."""
    thread = await desk.thread()
    future = 10**13
    await desk.redis.hset(keys.control(thread), "last", f"{future}-9")
    for number in range(3):
        await desk.send(thread, f"m{number}")
        [(entry, _)] = await desk.redis.xrange(keys.inbox(thread))
        assert entry == f"{future}-{10 + number}".encode()
        await desk.finish(await desk.claim(thread))
        assert await desk.waiting(thread) == 0
    assert await desk.transcript(thread) == ["m0", "m1", "m2"]


async def test_lost_replies_accept_a_message_once(desk: Desk, proxy: FaultProxy) -> None:
    thread = await desk.thread()
    async with open_store(proxy.url) as store:
        proxy.mode = "cut_replies"
        sending = asyncio.create_task(Desk(store).send(thread))
        await wait_until(lambda: proxy.lost >= 3)
        proxy.mode = "pass"
        await sending
    assert await inbox_ids(desk, thread) == ["m1"]


async def test_two_stores_see_one_inbox(store: Store, redis_url: str) -> None:
    async with open_store(redis_url) as second:
        one, two = Desk(store), Desk(second)
        thread = await one.thread()
        await one.send(thread, "m1")
        assert (await two.send(thread, "m1")).duplicate
