"""The worker's side of a conversation, script by script, and each of them repeated."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from core.conversations.inbox import Bus
from core.conversations.threads import Threads
from core.engine.mailbox import Busy, Mailbox, Turn
from core.errors import Fenced
from core.events import MessageCompleted, TextDelta, TurnFinished, Usage
from core.settings.groups import EngineSettings
from core.store import keys, scripts
from core.store.calling import Call
from core.store.client import DEADLINE, Store
from core.store.opening import open_store
from tests.support.desk import USER, Desk
from tests.support.fault_proxy import FaultProxy
from tests.support.waiting import wait_until


class Stuttering(Store):
    """Sends every script twice, as a retry does after a lost reply. Both answers must agree."""

    async def script(self, call: Call, *, deadline: float = DEADLINE) -> Any:
        first = await super().script(call, deadline=deadline)
        second = await super().script(call, deadline=deadline)
        if call[0] in ("claim", "done"):
            assert first[:1] == second[:1]
            assert first == second or first[0] == b"busy"
        return second


def stuttering(store: Store) -> Desk:
    return Desk(Stuttering(store.redis, store._scripts))  # pyright: ignore[reportPrivateUsage] - a test double of the store itself


async def expire_lease(desk: Desk, thread: str) -> None:
    await desk.redis.delete(keys.lease(thread))


async def test_claim_takes_the_oldest_message(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread, "m1")
    await desk.send(thread, "m2")
    turn = await desk.claim(thread)
    assert (turn.inbound.id, turn.attempt, turn.crashes, turn.cancelled) == ("m1", 1, 1, False)
    assert await desk.told(thread) == [("turn_started", {"message_id": "m1", "attempt": 1})]
    assert await desk.redis.get(keys.lease(thread)) == b"A"
    assert 0 < await desk.redis.pttl(keys.lease(thread)) <= desk.settings.lease_ms
    assert await desk.control(thread, "run") == turn.run_id


async def test_nothing_waits_nothing_is_left_behind(desk: Desk) -> None:
    thread = await desk.thread()
    assert await desk.mailbox().claim(thread, desk.settings) is None
    assert await desk.mailbox().claim("t_unknown", desk.settings) is None
    assert sorted(await desk.redis.keys("*{*")) == sorted(
        [keys.meta(thread).encode(), keys.user_threads(USER).encode()]
    )


async def test_another_worker_is_told_to_wait(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    await desk.claim(thread, "A")
    busy = await desk.mailbox("B").claim(thread, desk.settings)
    assert isinstance(busy, Busy)
    assert 0 < busy.milliseconds <= desk.settings.lease_ms


async def test_emit_writes_once_whatever_is_repeated(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn, box = await desk.claim(thread), desk.mailbox()
    for sequence in (1, 1, 2, 1, 2, 2):
        await box.emit(turn, sequence, [TextDelta(f"piece {sequence}")], desk.settings)
    assert [data.get("text") for _, data in await desk.told(thread)][1:] == ["piece 1", "piece 2"]


async def test_emit_is_fenced_after_a_takeover(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    stale = await desk.claim(thread, "A")
    await expire_lease(desk, thread)
    turn = await desk.claim(thread, "B")
    assert (turn.attempt, turn.crashes) == (2, 2)
    with pytest.raises(Fenced):
        await desk.mailbox("A").emit(stale, 1, [TextDelta("ghost")], desk.settings)
    with pytest.raises(Fenced):
        await desk.finish(stale, "A")
    assert await desk.mailbox("A").renew(stale, desk.settings) == (False, False)
    assert [kind for kind, _ in await desk.told(thread)] == ["turn_started", "turn_started"]
    assert await desk.transcript(thread) == []


async def test_done_ends_everything_at_once(desk: Desk) -> None:
    thread = await desk.thread()
    run = (await desk.send(thread)).run_id
    await Bus(desk.store).cancel(run)
    turn = await desk.claim(thread)
    events = (MessageCompleted("a1", "Hi", Usage(1, 2), "m"), TurnFinished("completed"))
    assert await desk.finish(turn, events=events) is None
    kinds = [kind for kind, _ in await desk.told(thread)]
    assert kinds == ["turn_started", "message_completed", "turn_finished"]
    assert await desk.transcript(thread) == ["m1"]
    gone = (keys.inbox(thread), keys.lease(thread), keys.cancel_flag(thread, run))
    assert not await desk.redis.exists(*gone)
    assert not await desk.redis.hexists(keys.pending(), thread)
    assert await desk.control(thread, "run") is None
    assert set(await desk.redis.hkeys(keys.control(thread))) == {b"ep", b"sq", b"last"}


async def test_done_takes_the_next_message(desk: Desk) -> None:
    thread = await desk.thread()
    for name in ("m1", "m2"):
        await desk.send(thread, name)
    following = await desk.finish(await desk.claim(thread))
    assert isinstance(following, Turn)
    assert (following.inbound.id, following.attempt) == ("m2", 1)
    assert await desk.finish(following) is None


async def test_done_repeated_after_it_claimed_the_next_message(desk: Desk) -> None:
    """The reply of `done` was lost: the repetition is the same claim, not a crash of m2."""
    thread = await desk.thread()
    for name in ("m1", "m2"):
        await desk.send(thread, name)
    turn = await desk.claim(thread)
    first = await desk.finish(turn)
    again = await desk.finish(turn)
    assert first == again
    assert isinstance(again, Turn)
    assert (again.attempt, again.crashes) == (1, 1)
    assert await desk.transcript(thread) == ["m1"]
    starts = [data["message_id"] for _, data in await desk.told(thread) if "attempt" in data]
    assert starts == ["m1", "m2"]
    await desk.mailbox().emit(again, 1, [TextDelta("x")], desk.settings)


async def test_done_repeated_when_somebody_else_went_on(desk: Desk) -> None:
    thread = await desk.thread()
    for name in ("m1", "m2"):
        await desk.send(thread, name)
    turn = await desk.claim(thread, "A")
    await desk.finish(turn, "A", take_next=False)
    other = await desk.claim(thread, "B")
    assert isinstance(await desk.finish(turn, "A", take_next=False), Busy)
    assert await desk.mailbox("B").renew(other, desk.settings) == (True, False)
    assert await desk.transcript(thread) == ["m1"]


async def test_done_without_the_next_leaves_no_trace_of_an_empty_inbox(desk: Desk) -> None:
    """An empty inbox stream looked like waiting work: streams `until=idle` never ended."""
    thread = await desk.thread()
    await desk.send(thread)
    assert await desk.finish(await desk.claim(thread), take_next=False) is None
    assert not await desk.redis.exists(keys.inbox(thread), keys.lease(thread))
    assert not await desk.redis.hexists(keys.pending(), thread)


async def test_done_without_the_next_keeps_what_waits(desk: Desk) -> None:
    thread = await desk.thread()
    for name in ("m1", "m2"):
        await desk.send(thread, name)
    assert await desk.finish(await desk.claim(thread, "A"), take_next=False) is None
    assert await desk.redis.hexists(keys.pending(), thread)
    assert (await desk.claim(thread, "B")).inbound.id == "m2"


async def test_a_late_renewal_does_not_bring_the_lease_back(desk: Desk) -> None:
    """It held the conversation for three seconds against every other worker."""
    thread = await desk.thread()
    await desk.send(thread, "m1")
    turn = await desk.claim(thread, "A")
    await desk.finish(turn, "A")
    assert await desk.mailbox("A").renew(turn, desk.settings) == (False, False)
    assert not await desk.redis.exists(keys.lease(thread))
    await desk.send(thread, "m2")
    assert (await desk.claim(thread, "B")).inbound.id == "m2"


async def test_renewal_heals_a_lost_lease(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread, "A")
    await expire_lease(desk, thread)
    assert await desk.mailbox("A").renew(turn, desk.settings) == (True, False)
    assert isinstance(await desk.mailbox("B").claim(thread, desk.settings), Busy)


async def test_renewal_tells_of_a_cancellation(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    await Bus(desk.store).cancel(turn.run_id)
    assert await desk.mailbox().renew(turn, desk.settings) == (True, True)


async def test_cancelled_before_it_was_claimed(desk: Desk) -> None:
    thread = await desk.thread()
    await Bus(desk.store).cancel((await desk.send(thread)).run_id)
    assert (await desk.claim(thread)).cancelled


async def test_release_hands_over_without_counting_a_crash(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread, "A")
    await desk.redis.delete(keys.doorbell())
    await desk.mailbox("A").release(turn)
    assert await desk.redis.lrange(keys.doorbell(), 0, -1) == [f"{thread}\x1fu1".encode()]
    following = await desk.claim(thread, "B")
    assert (following.attempt, following.crashes) == (2, 1)
    await desk.mailbox("A").release(turn)
    assert await desk.mailbox("B").renew(following, desk.settings) == (True, False)


async def test_crashes_count_hand_overs_do_not(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    seen: list[tuple[int, int]] = []
    for crash in (True, False, True, True):
        turn = await desk.claim(thread)
        seen.append((turn.attempt, turn.crashes))
        if crash:
            await expire_lease(desk, thread)
        else:
            await desk.mailbox().release(turn)
    assert seen == [(1, 1), (2, 2), (3, 2), (4, 3)]


async def test_the_counters_begin_anew_with_the_next_message(desk: Desk) -> None:
    thread = await desk.thread()
    for name in ("m1", "m2"):
        await desk.send(thread, name)
    await desk.claim(thread)
    following = await desk.finish(await desk.claim(thread))
    assert isinstance(following, Turn)
    assert (following.attempt, following.crashes) == (1, 1)


async def test_settle_forgets_a_thread_unless_something_newer_came(desk: Desk) -> None:
    await desk.redis.hset(keys.pending(), "t", "m2")
    first, last = (
        scripts.settle(pending=keys.pending(), thread="t", message=name) for name in ("m1", "m2")
    )
    assert await desk.store.script(first) == 0
    assert await desk.redis.hexists(keys.pending(), "t")
    assert await desk.store.script(last) == 1
    assert await desk.store.script(last) == 0


async def test_a_deleted_thread_fences_its_worker(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    await Threads(desk.store).delete(USER, thread)
    with pytest.raises(Fenced):
        await desk.mailbox().emit(turn, 1, [TextDelta("ghost")], desk.settings)
    with pytest.raises(Fenced):
        await desk.finish(turn)
    assert await desk.mailbox().renew(turn, desk.settings) == (False, False)
    assert await desk.mailbox().claim(thread, desk.settings) is None
    assert [k for k in await desk.redis.keys("*") if thread.encode() in k] == []


async def test_messages_of_a_vanished_thread_are_let_go(desk: Desk) -> None:
    """They were claimed, refused and left again every second, for ever."""
    thread = await desk.thread()
    await desk.send(thread)
    await desk.redis.delete(keys.meta(thread))
    assert await desk.mailbox().claim(thread, desk.settings) is None
    assert not await desk.redis.exists(keys.inbox(thread), keys.lease(thread))


async def test_every_script_repeated_gives_the_same(store: Store) -> None:
    desk = stuttering(store)
    thread = await desk.thread()
    for name in ("m1", "m2", "m3"):
        await desk.send(thread, name)
    turn = await desk.claim(thread)
    assert (turn.attempt, turn.crashes) == (1, 1)
    await desk.mailbox().emit(turn, 1, [TextDelta("a")], desk.settings)
    await desk.mailbox().renew(turn, desk.settings)
    await desk.mailbox().release(turn)
    turn = await desk.claim(thread)
    assert (turn.attempt, turn.crashes) == (2, 1)
    for expected in ("m2", "m3"):
        following = await desk.finish(turn)
        assert isinstance(following, Turn)
        assert (following.inbound.id, following.attempt) == (expected, 1)
        turn = following
    assert await desk.finish(turn) is None
    assert await desk.transcript(thread) == ["m1", "m2", "m3"]
    kinds = [kind for kind, _ in await desk.told(thread)]
    assert kinds.count("turn_finished") == 3
    assert kinds.count("turn_started") == 4


async def test_claims_whose_replies_are_lost_are_no_crashes(desk: Desk, proxy: FaultProxy) -> None:
    """Five lost replies in a row gave a message up that had never been run."""
    thread = await desk.thread()
    await desk.send(thread)
    async with open_store(proxy.url) as store:
        box = Mailbox(store, "A")
        proxy.mode = "cut_replies"
        claiming = asyncio.create_task(box.claim(thread, desk.settings))
        await wait_until(lambda: proxy.lost >= 5)
        proxy.mode = "pass"
        turn = await claiming
    assert isinstance(turn, Turn)
    assert (turn.attempt, turn.crashes) == (1, 1)
    assert len(await desk.entries(thread)) == 1


async def test_ends_whose_replies_are_lost_are_written_once(desk: Desk, proxy: FaultProxy) -> None:
    thread = await desk.thread()
    for name in ("m1", "m2"):
        await desk.send(thread, name)
    turn = await desk.claim(thread)
    async with open_store(proxy.url) as store:
        proxy.mode = "cut_replies"
        ending = asyncio.create_task(Desk(store).finish(turn))
        await wait_until(lambda: proxy.lost >= 4)
        proxy.mode = "pass"
        following = await ending
    assert isinstance(following, Turn)
    assert (following.inbound.id, following.crashes) == ("m2", 1)
    assert await desk.transcript(thread) == ["m1"]


async def test_the_journal_is_trimmed(desk: Desk) -> None:
    desk.settings = EngineSettings(journal_length=100)
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    for number in range(1, 41):
        events = [TextDelta(str(i)) for i in range(25)]
        await desk.mailbox().emit(turn, number, events, desk.settings)
    length = await desk.redis.xlen(keys.journal(thread))
    assert 100 <= length < 400, "trimmed by whole nodes of the stream"


async def test_too_many_events_in_one_call_are_refused(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    with pytest.raises(ValueError, match="too many"):
        await desk.mailbox().emit(turn, 1, [TextDelta("x")] * 2600, desk.settings)
    await desk.mailbox().emit(turn, 1, [TextDelta("x")] * 2500, desk.settings)


async def test_a_buried_message_says_why(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    await desk.mailbox().bury(turn, "it crashed")
    [(_, fields)] = await desk.redis.xrange(keys.dead_letters())
    assert fields[b"thread"] == thread.encode()
    assert fields[b"why"] == b"it crashed"
    assert orjson.loads(orjson.dumps(fields[b"message"].decode())) == "m1"


async def test_a_turn_of_another_epoch_cannot_be_released(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    await desk.mailbox().release(replace(turn, epoch=turn.epoch + 7))
    assert await desk.mailbox().renew(turn, desk.settings) == (True, False)
