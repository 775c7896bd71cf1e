"""Workers: one turn at a time in a conversation, none lost, whatever dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.engine.mailbox import Turn
from core.engine.turn_journal import TurnJournal
from core.engine.turns import Ending, TurnControl
from core.events import TextDelta
from core.store import keys
from tests.support.desk import Desk
from tests.support.engines import Crew, Scripted, working
from tests.support.fault_proxy import FaultProxy
from tests.support.waiting import wait_until


async def finished(desk: Desk, thread: str) -> list[tuple[str, str]]:
    """(message, status) in the transcript."""
    return [(name, status) for name, status in await desk.transcript(thread)]


def ended(desk: Desk, thread: str, count: int) -> Callable[[], Any]:
    """Condition: so many messages of the thread have ended."""

    async def look() -> bool:
        return len(await desk.transcript(thread)) >= count

    return look


class Gate:
    """Work that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.begun: list[str] = []

    async def __call__(self, turn: Turn, journal: TurnJournal) -> None:
        self.begun.append(turn.inbound.id)
        journal.put(TextDelta(f"{turn.inbound.id} "))
        await self.opened.wait()


async def forget_the_bell(desk: Desk) -> None:
    await desk.redis.delete(keys.doorbell())


async def test_messages_of_a_thread_run_in_order_one_at_a_time(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    thread = await desk.thread()
    async with working(redis_url, tmp_path) as crew:
        for number in range(10):
            await desk.send(thread, f"m{number}")
        await wait_until(ended(desk, thread, 10))
        assert crew.together == 1
    assert await finished(desk, thread) == [(f"m{n}", "completed") for n in range(10)]


async def test_threads_run_side_by_side(desk: Desk, redis_url: str, tmp_path: Path) -> None:
    gate = Gate()
    threads = [await desk.thread(user=f"u{n}") for n in range(8)]
    async with working(redis_url, tmp_path, gate) as crew:
        for number, thread in enumerate(threads):
            await desk.send(thread, f"m{number}", user=f"u{number}")
        await wait_until(lambda: len(gate.begun) == 8)
        gate.opened.set()
        await wait_until(lambda: len(crew.ended) == 8)


async def test_two_workers_share_threads_and_never_a_turn(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    threads = [await desk.thread() for _ in range(6)]
    running: list[str] = []
    most: list[int] = []

    async def work(turn: Turn, journal: TurnJournal) -> None:
        running.append(turn.thread_id)
        most.append(running.count(turn.thread_id))
        journal.put(TextDelta("x"))
        await journal.flush()
        running.remove(turn.thread_id)

    async with (
        working(redis_url, tmp_path, work) as one,
        working(redis_url, tmp_path, work) as two,
    ):
        for number in range(8):
            for thread in threads:
                await desk.send(thread, f"m{number}")
        for thread in threads:
            await wait_until(ended(desk, thread, 8), timeout=15)
        assert len(one.begun) + len(two.begun) == 48
    assert max(most) == 1
    for thread in threads:
        assert await finished(desk, thread) == [(f"m{n}", "completed") for n in range(8)]


async def test_a_lost_doorbell_costs_a_second(desk: Desk, redis_url: str, tmp_path: Path) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    await forget_the_bell(desk)
    async with working(redis_url, tmp_path):
        await wait_until(ended(desk, thread, 1), timeout=3)


async def test_junk_in_redis_ends_no_worker(desk: Desk, redis_url: str, tmp_path: Path) -> None:
    """One byte on the bell, or in the list of pending threads, started the worker anew."""
    thread = await desk.thread()
    async with working(redis_url, tmp_path) as crew:
        for junk in (b"\xff", b"\xff\x1f\xfe", b"", b"\x1f", b"no thread\x1fu1"):
            await desk.redis.rpush(keys.doorbell(), junk)
            await desk.redis.hset(keys.pending(), mapping={junk: junk})
        for channel in (keys.cancellations(), keys.settings_changed(), keys.user_channel("u1")):
            await desk.redis.publish(channel, b"\xff\x1e\xff")
        await desk.send(thread)
        await wait_until(ended(desk, thread, 1))

        async def heard() -> bool:
            return not await desk.redis.llen(keys.doorbell())

        await wait_until(heard)
        await desk.send(thread, "m2")
        await forget_the_bell(desk)
        await wait_until(ended(desk, thread, 2), timeout=5)  # a sweep has seen all of it
        assert not crew.task.done()


async def test_a_dead_workers_turn_is_taken_over_within_five_seconds(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    gate, thread = Gate(), await desk.thread()
    async with working(redis_url, tmp_path, gate) as first:
        await desk.send(thread)
        await wait_until(lambda: bool(gate.begun))
        await first.die()
        died = time.monotonic()
        async with working(redis_url, tmp_path) as second:
            await wait_until(ended(desk, thread, 1), timeout=6)
            assert time.monotonic() - died <= 5
            assert second.ended == ["m1"]
    starts = [data["attempt"] for kind, data in await desk.told(thread) if kind == "turn_started"]
    assert starts == [1, 2]
    assert await finished(desk, thread) == [("m1", "completed")]


async def test_a_cut_off_worker_is_fenced_when_it_comes_back(
    desk: Desk, proxy: FaultProxy, redis_url: str, tmp_path: Path
) -> None:
    gate, thread = Gate(), await desk.thread()
    async with working(proxy.url, tmp_path, gate, lease_ms=600) as lonely:
        await desk.send(thread)
        await wait_until(lambda: bool(gate.begun))
        proxy.mode = "blackhole"
        async with working(redis_url, tmp_path):
            await wait_until(ended(desk, thread, 1), timeout=8)
        gate.opened.set()
        proxy.mode = "pass"
        await wait_until(lambda: not lonely.running)
    assert await finished(desk, thread) == [("m1", "completed")]
    kinds = [kind for kind, _ in await desk.told(thread)]
    assert kinds.count("turn_finished") == 1
    assert kinds[-1] == "turn_finished"


async def test_drain_lets_turns_end(desk: Desk, redis_url: str, tmp_path: Path) -> None:
    gate, thread = Gate(), await desk.thread()
    async with working(redis_url, tmp_path, gate) as crew:
        await desk.send(thread, "m1")
        await wait_until(lambda: bool(gate.begun))
        await desk.send(thread, "m2")
        crew.worker.drain()
        gate.opened.set()
        await crew.task
        assert await finished(desk, thread) == [("m1", "completed")]
        assert not await desk.redis.exists(keys.lease(thread))
        assert not await desk.redis.exists(keys.worker(crew.name))
    async with working(redis_url, tmp_path):
        await wait_until(ended(desk, thread, 2))


async def test_drain_hands_over_what_does_not_end(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    gate, thread = Gate(), await desk.thread()
    turns: list[Turn] = []

    async def note(turn: Turn, journal: TurnJournal) -> None:
        turns.append(turn)

    async with working(redis_url, tmp_path, gate, drain_seconds=0) as first:
        await desk.send(thread)
        await wait_until(lambda: bool(gate.begun))
        async with working(redis_url, tmp_path, note):
            await first.drained()
            await wait_until(ended(desk, thread, 1), timeout=2)
    assert [(turn.attempt, turn.crashes) for turn in turns] == [(2, 1)]


async def test_a_drain_begins_no_turn_that_waited_for_a_place(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    """It was begun in the middle of the shutdown, and lost with the process."""
    gate = Gate()
    threads = [await desk.thread() for _ in range(4)]
    engine: dict[str, Any] = {"concurrency": 1, "drain_seconds": 0.2}
    async with working(redis_url, tmp_path, gate, **engine) as crew:
        for number, thread in enumerate(threads):
            await desk.send(thread, f"m{number}")
        await wait_until(lambda: len(gate.begun) == 1)
        await crew.drained()
        assert len(gate.begun) == 1
        assert not crew.running
        for thread in threads:
            assert not await desk.redis.exists(keys.lease(thread))
    async with working(redis_url, tmp_path):
        for thread in threads:
            await wait_until(ended(desk, thread, 1))


async def test_a_message_that_kills_its_worker_is_given_up(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    thread = await desk.thread()

    class Crashing(Scripted):
        async def __call__(self, turn: Turn, control: TurnControl, journal: TurnJournal) -> Ending:
            if turn.inbound.id == "m1":
                # The lease would run out first; the test does not wait for that.
                await desk.redis.delete(keys.lease(thread))
                await desk.send(thread, "m2")
                raise ZeroDivisionError
            return await super().__call__(turn, control, journal)

    async def nothing(turn: Turn, journal: TurnJournal) -> None:
        pass

    await desk.send(thread)
    async with working(
        redis_url, tmp_path, handler=Crashing(nothing), max_attempts=2, lease_ms=500
    ):
        await wait_until(ended(desk, thread, 2), timeout=10)
    assert await finished(desk, thread) == [("m1", "gave_up"), ("m2", "completed")]
    [(_, letter)] = await desk.redis.xrange(keys.dead_letters())
    assert letter[b"message"] == b"m1"
    failed = [data for kind, data in await desk.told(thread) if kind == "turn_failed"]
    assert [data["code"] for data in failed] == ["gave_up"]


async def test_cancel_stops_a_turn_at_once(desk: Desk, redis_url: str, tmp_path: Path) -> None:
    gate, thread = Gate(), await desk.thread()
    async with working(redis_url, tmp_path, gate):
        run = (await desk.send(thread)).run_id
        await wait_until(lambda: bool(gate.begun))
        began = time.monotonic()
        await desk.cancel(run)
        await wait_until(ended(desk, thread, 1), timeout=2)
        assert time.monotonic() - began <= 1
    assert await finished(desk, thread) == [("m1", "cancelled")]


async def test_cancel_works_when_its_announcement_is_lost(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    gate, thread = Gate(), await desk.thread()
    async with working(redis_url, tmp_path, gate):
        run = (await desk.send(thread)).run_id
        await wait_until(lambda: bool(gate.begun))
        began = time.monotonic()
        await desk.redis.set(keys.cancel_flag(thread, run), 1, ex=60)
        await wait_until(ended(desk, thread, 1), timeout=2)
        assert time.monotonic() - began <= 1


async def test_cancelled_before_it_began(desk: Desk, redis_url: str, tmp_path: Path) -> None:
    gate, thread = Gate(), await desk.thread()
    async with working(redis_url, tmp_path, gate):
        await desk.send(thread, "m1")
        await wait_until(lambda: bool(gate.begun))
        await desk.cancel((await desk.send(thread, "m2")).run_id)
        gate.opened.set()
        await wait_until(ended(desk, thread, 2))
    assert await finished(desk, thread) == [("m1", "completed"), ("m2", "cancelled")]
    assert gate.begun == ["m1"]


async def test_cancel_of_another_run_does_nothing(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    gate, thread = Gate(), await desk.thread()
    async with working(redis_url, tmp_path, gate):
        await desk.send(thread)
        await wait_until(lambda: bool(gate.begun))
        await desk.cancel(f"{thread}.other")
        gate.opened.set()
        await wait_until(ended(desk, thread, 1))
    assert await finished(desk, thread) == [("m1", "completed")]


@pytest.mark.parametrize("fault", ["reset", "blackhole", "cut_replies"])
async def test_an_outage_in_the_middle_loses_and_repeats_nothing(
    desk: Desk, proxy: FaultProxy, tmp_path: Path, fault: Any
) -> None:
    gate, thread = Gate(), await desk.thread()
    async with working(proxy.url, tmp_path, gate) as crew:
        await desk.send(thread, "m1")
        await desk.send(thread, "m2")
        await wait_until(lambda: bool(gate.begun))
        proxy.mode = fault
        gate.opened.set()
        await asyncio.wait([crew.task], timeout=1)
        proxy.mode = "pass"
        await wait_until(ended(desk, thread, 2), timeout=5)
    assert await finished(desk, thread) == [("m1", "completed"), ("m2", "completed")]
    told = await desk.told(thread)
    assert [data["text"] for kind, data in told if kind == "text_delta"] == ["m1 ", "m2 "]
    assert [data["attempt"] for kind, data in told if kind == "turn_started"] == [1, 1]


async def test_the_sweeper_forgets_threads_without_work(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    await desk.redis.hset(keys.pending(), "t_gone", "m1")
    async with working(redis_url, tmp_path):
        await wait_until(lambda: _no_pending(desk), timeout=9)


async def _no_pending(desk: Desk) -> bool:
    return not await desk.redis.exists(keys.pending())


async def test_a_worker_says_that_it_is_there(desk: Desk, redis_url: str, tmp_path: Path) -> None:
    async with working(redis_url, tmp_path) as crew:
        await wait_until(lambda: _known(desk, crew))
        assert 0 < await desk.redis.ttl(keys.worker(crew.name)) <= 15
    assert not await _known(desk, crew)


async def _known(desk: Desk, crew: Crew) -> bool:
    return await desk.redis.zscore(keys.workers(), crew.name) is not None


async def test_one_user_does_not_take_every_place(
    desk: Desk, redis_url: str, tmp_path: Path
) -> None:
    gate = Gate()
    mine = [await desk.thread() for _ in range(6)]
    other = await desk.thread(user="u2")
    async with working(redis_url, tmp_path, gate, concurrency=4, per_user=2):
        for number, thread in enumerate(mine):
            await desk.send(thread, f"m{number}")
        await wait_until(lambda: len(gate.begun) == 2)
        await desk.send(other, "theirs", user="u2")
        await wait_until(lambda: "theirs" in gate.begun)
        assert len(gate.begun) == 3
        gate.opened.set()
        for thread in (*mine, other):
            await wait_until(ended(desk, thread, 1))
