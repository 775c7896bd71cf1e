"""A step that never gives the event loop back: its stop is heard, and others are answered."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from core.engine.watchdog import EXIT_CODE
from core.store import keys
from core.store.connection import connect
from tests.support.stack import ROOT, Stack, running_stack
from tests.support.waiting import wait_until

HANGS = ROOT / "tests" / "support" / "worker_that_hangs.py"


async def new_thread(client: httpx.AsyncClient) -> str:
    return (await client.post("/api/threads", json={})).json()["id"]


async def say(client: httpx.AsyncClient, thread: str, text: str) -> str:
    """The run's id."""
    sent = await client.post(f"/api/threads/{thread}/messages", json={"text": text})
    assert sent.status_code == 202, sent.text
    return sent.json()["run_id"]


async def answer(client: httpx.AsyncClient, thread: str) -> dict[str, Any] | None:
    """The newest answer."""
    messages = (await client.get(f"/api/threads/{thread}")).json()["messages"]
    return messages[-1] if messages and messages[-1]["role"] == "assistant" else None


async def hung(stack: Stack, client: httpx.AsyncClient, way: str) -> tuple[str, str]:
    """A conversation whose turn has just begun to hang, and the run."""
    thread = await new_thread(client)
    run = await say(client, thread, f'tool:hang {{"way":"{way}"}}')

    redis = connect(stack.server.url)
    await wait_until(lambda: redis.exists(keys.calls(thread)), timeout=20)
    await redis.aclose()
    return thread, run


async def stop_at_once(client: httpx.AsyncClient, thread: str, run: str) -> None:
    """Ask for a stop; it is heard within a second."""
    asked = time.monotonic()
    assert (await client.post(f"/api/runs/{run}/cancel")).status_code == 202
    await wait_until(lambda: answered(client, thread, "cancelled"), timeout=10)
    assert time.monotonic() - asked < 1.2


async def answered(client: httpx.AsyncClient, thread: str, status: str) -> bool:
    found = await answer(client, thread)
    return found is not None and found["status"] == status


@pytest.mark.parametrize("way", ["computes", "waits", "matches"])
async def test_a_stop_is_heard_by_a_step_that_never_yields(way: str) -> None:
    async with running_stack(workers=0, ENGINE_STUCK_SECONDS="600") as stack, stack.client() as it:
        await stack.start_worker("worker", program=HANGS)
        thread, run = await hung(stack, it, way)
        await stop_at_once(it, thread, run)
        other = await new_thread(it)
        await say(it, other, "hello")
        await wait_until(lambda: answered(it, other, "completed"), timeout=5)
        assert stack.processes["worker"].returncode is None
        assert "the event loop stands still for" in stack.log("worker")
        assert "in hang" in stack.log("worker")


async def test_nobody_stops_it_and_others_are_answered_all_the_same() -> None:
    """The step gets an error, which the model is told, and the process lives on."""
    async with running_stack(workers=0, ENGINE_STUCK_SECONDS="2") as stack, stack.client() as it:
        await stack.start_worker("worker", program=HANGS)
        thread, _ = await hung(stack, it, "computes")
        other = await new_thread(it)
        await say(it, other, "hello")
        await wait_until(lambda: answered(it, other, "completed"), timeout=10)
        await wait_until(lambda: answered(it, thread, "completed"), timeout=10)
        found = await answer(it, thread)
        assert found is not None
        [call] = found["tools"]
        assert call["status"] == "error"
        assert stack.processes["worker"].returncode is None


async def test_a_stop_of_another_turn_is_heard_too() -> None:
    async with running_stack(workers=0, ENGINE_STUCK_SECONDS="600") as stack, stack.client() as it:
        await stack.start_worker("worker", program=HANGS)
        other = await new_thread(it)
        run = await say(it, other, "bench:2000:10")
        redis = connect(stack.server.url)
        await wait_until(lambda: redis.exists(keys.lease(other)), timeout=20)
        await redis.aclose()
        await hung(stack, it, "computes")
        asked = time.monotonic()
        assert (await it.post(f"/api/runs/{run}/cancel")).status_code == 202
        await wait_until(lambda: answered(it, other, "cancelled"), timeout=10)
        assert time.monotonic() - asked < 2


async def test_what_swallows_everything_ends_with_its_process_and_its_stop_holds() -> None:
    async with running_stack(
        workers=0, ENGINE_STUCK_SECONDS="600", ENGINE_LEASE_MS="1000"
    ) as stack, stack.client() as it:  # fmt: skip
        await stack.start_worker("worker", program=HANGS)
        thread, run = await hung(stack, it, "swallows")
        assert (await it.post(f"/api/runs/{run}/cancel")).status_code == 202
        assert await stack.processes["worker"].wait() == EXIT_CODE
        await stack.start_worker("another", program=HANGS)
        await wait_until(lambda: answered(it, thread, "cancelled"), timeout=10)
        assert "the event loop stands still" not in stack.log("another")


async def test_a_message_that_kills_its_worker_is_given_up() -> None:
    async with running_stack(
        workers=0, ENGINE_STUCK_SECONDS="1", ENGINE_LEASE_MS="600", ENGINE_MAX_ATTEMPTS="1"
    ) as stack, stack.client() as it:  # fmt: skip
        await stack.start_worker("worker", program=HANGS)
        thread, _ = await hung(stack, it, "swallows")
        assert await stack.processes["worker"].wait() == EXIT_CODE
        await stack.start_worker("another", program=HANGS)
        await wait_until(lambda: answered(it, thread, "failed"), timeout=10)
