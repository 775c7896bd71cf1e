"""How long a conversation stands still when its worker goes, with the settings as they come."""

from __future__ import annotations

import signal
import time

import httpx

from tests.chaos.measure import BUSY, new_thread, say, until, written_at
from tests.chaos.world import Child, World, running_world
from tests.support.waiting import wait_until

KILLED, HANDED_OVER = 5.0, 0.5
DRAIN = 0.3


async def runner_of(world: World, thread: str) -> Child:
    """The worker that holds the conversation."""
    owner = b""

    async def known() -> bool:
        nonlocal owner
        owner = await world.redis.get(f"asst:{{{thread}}}:ls") or b""
        return bool(owner)

    await wait_until(known)
    return next(w for w in world.workers if f"-{w.pid}-".encode() in owner)


async def taken_over(world: World, client: httpx.AsyncClient, number: signal.Signals) -> float:
    """Seconds from the signal to the start of the second attempt."""
    thread = await new_thread(client)
    assert (await say(client, thread, "bench:300:20", "m1")).status == 202
    await until(client, thread, "text_delta")
    worker = await runner_of(world, thread)
    began = time.time()
    worker.signal(number)
    started = await until(client, thread, "turn_started", attempt=2)
    await until(client, thread, "turn_finished")
    await worker.ready.wait()
    return written_at(started) - began


async def test_a_killed_worker_is_followed_by_another_within_five_seconds() -> None:
    async with running_world() as world, world.client(timeout=60) as client:
        seconds = [await taken_over(world, client, signal.SIGKILL) for _ in range(2)]
        print(f"takeover after kill -9: {seconds}")  # noqa: T201 - a figure for the documentation
        assert max(seconds) <= KILLED


async def test_a_worker_that_stops_hands_its_conversations_over_at_once() -> None:
    async with (
        running_world(ENGINE_DRAIN_SECONDS=str(DRAIN)) as world,
        world.client(timeout=60) as client,
    ):
        seconds = [await taken_over(world, client, signal.SIGTERM) - DRAIN for _ in range(2)]
        print(f"takeover after the hand-over: {seconds}")  # noqa: T201 - as above
        assert max(seconds) <= HANDED_OVER + BUSY


async def test_messages_behind_a_drained_turn_are_not_left_to_the_sweeper() -> None:
    async with running_world(ENGINE_DRAIN_SECONDS="5") as world, world.client(timeout=60) as client:
        thread = await new_thread(client)
        await say(client, thread, "bench:60:20", "m1")
        await until(client, thread, "text_delta")
        await say(client, thread, "bench:3", "m2")
        (await runner_of(world, thread)).signal(signal.SIGTERM)
        ended = await until(client, thread, "turn_finished")
        started = await until(client, thread, "turn_started", message_id="m2")
        assert written_at(started) - written_at(ended) <= HANDED_OVER + BUSY
