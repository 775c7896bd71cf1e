"""Clocks that jump: of Redis, whose times of expiry are absolute, and of the web process."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from api.demo.script import bench_tokens
from tests.chaos.checker import logged
from tests.chaos.clocks import MISSING, find_library
from tests.chaos.measure import new_thread, say, until
from tests.chaos.test_takeover import runner_of
from tests.chaos.world import Child, World, running_world, settled
from tests.support.waiting import wait_until

HOURS = 6 * 3600
TOKENS = 300

pytestmark = [pytest.mark.skipif(find_library() is None, reason=MISSING), pytest.mark.timeout(180)]


@asynccontextmanager
async def at_work(text: str) -> AsyncGenerator[tuple[World, httpx.AsyncClient, str, Child]]:
    """A turn that runs, and its worker, frozen."""
    async with running_world(own_clocks=True) as world, world.client(timeout=60) as client:
        thread = await new_thread(client)
        assert (await say(client, thread, text, "m1")).status == 202
        await until(client, thread, "text_delta")
        worker = await runner_of(world, thread)
        worker.signal(signal.SIGSTOP)
        yield world, client, thread, worker
        assert logged(world) == []


async def answers(client: httpx.AsyncClient, thread: str) -> list[str]:
    """What the transcript keeps."""
    detail = (await client.get(f"/api/threads/{thread}")).json()
    return [m["text"] for m in detail["messages"] if m["role"] == "assistant"]


async def ends(world: World, thread: str) -> int:
    """How many turns have ended in the journal."""
    rows = await world.redis.xrange(f"asst:{{{thread}}}:ev")
    return sum(fields[b"t"] == b"turn_finished" for _, fields in rows)


async def test_two_workers_on_a_lease_that_ended_early_give_one_answer() -> None:
    async with at_work(f"bench:{TOKENS}:20") as (world, client, thread, worker):
        world.clocks.set("redis", HOURS)
        await until(client, thread, "turn_started", attempt=2)
        worker.signal(signal.SIGCONT)
        await wait_until(
            lambda: "taken over by another worker" in worker.log.read_text(), timeout=60
        )
        await until(client, thread, "turn_finished", status="completed")
        assert await answers(client, thread) == ["".join(bench_tokens(TOKENS))]
        assert await ends(world, thread) == 1


async def test_a_lease_that_grew_by_hours_keeps_nobody_waiting() -> None:
    async with at_work(f"bench:{TOKENS}:20") as (world, client, thread, worker):
        lease = f"asst:{{{thread}}}:ls"

        async def no_renewal_is_on_its_way() -> bool:
            return await world.redis.pttl(lease) < 2000  # of three seconds, renewed after 0.6

        async def grown() -> bool:
            return await world.redis.pttl(lease) > 1000 * (HOURS - 60)

        await wait_until(no_renewal_is_on_its_way)
        world.clocks.set("redis", -HOURS)
        await wait_until(grown)  # a server looks at its clock once a round of its loop
        worker.signal(signal.SIGKILL)
        await until(client, thread, "turn_started", attempt=2)
        await until(client, thread, "turn_finished", status="completed")
        assert await answers(client, thread) == ["".join(bench_tokens(TOKENS))]


async def test_a_conversation_goes_on_in_order_whatever_the_clocks_say() -> None:
    async with running_world(own_clocks=True) as world, world.client(timeout=60) as client:
        thread = await new_thread(client)
        names = ("redis", "web", "worker1", "worker2")
        for number, seconds in enumerate((0, HOURS, -HOURS, 0)):
            for name in names:
                world.clocks.set(name, seconds)
            for name in (f"m{number}", f"m{max(number - 1, 0)}"):  # the second one is a repetition
                assert (await say(client, thread, f"bench:{number + 1}", name)).status == 202
            started = await until(client, thread, "turn_started", message_id=f"m{number}")
            run = started.data["run_id"]
            await until(client, thread, "turn_finished", run_id=run, status="completed")
        texts = ["".join(bench_tokens(number + 1)) for number in range(4)]
        assert await answers(client, thread) == texts
        assert await ends(world, thread) == 4
        await settled(world)
        assert logged(world) == []
