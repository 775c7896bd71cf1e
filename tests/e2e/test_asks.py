"""Questions of the web process to a worker, over HTTP, with real processes."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.stack import Stack
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]


async def test_the_tools_are_known_from_a_worker(stack: Stack) -> None:
    async with stack.client() as client:
        found = (await client.get("/api/tools")).json()
    tools = {tool["name"]: tool for tool in found["items"]}
    assert tools["current_time"]["effect"] == "read"
    assert tools["current_time"]["description"]


async def test_a_worker_that_is_frozen_costs_the_asker_a_clear_error_in_time(stack: Stack) -> None:
    pid = stack.processes["worker1"].pid
    async with stack.client() as client:
        os.kill(pid, signal.SIGSTOP)
        try:
            refused = await client.get("/api/tools")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert refused.status_code == 503
        assert refused.json()["code"] == "no_answer"
        assert refused.elapsed.total_seconds() < 8
        await wait_until(lambda: _answered(stack), timeout=20)


async def _answered(stack: Stack) -> bool:
    async with stack.client() as client:
        return (await client.get("/api/tools")).status_code == 200
