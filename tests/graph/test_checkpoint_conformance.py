"""The official suite for savers, every capability by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from core.store.redis import RedisClient
from graph.checkpoint.saver import RedisSaver

REQUIRED = (
    "put",
    "put_writes",
    "get_tuple",
    "list",
    "delete_thread",
    "delete_for_runs",
    "copy_thread",
    "prune",
)
TESTS = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


@pytest.mark.parametrize("capability", REQUIRED)
async def test_official_suite(redis: RedisClient, capability: str) -> None:
    @checkpointer_test(name="RedisSaver")
    async def saver() -> AsyncGenerator[RedisSaver]:
        await redis.flushall()
        yield RedisSaver(redis)

    report = await validate(saver, capabilities={capability})
    result = report.results[capability]
    assert result.failures == [] or result.failures is None
    assert result.detected
    assert result.passed
    assert result.tests_passed >= TESTS[capability]


def test_no_capability_of_the_installed_suite_is_left_out() -> None:
    assert {capability.value for capability in Capability} == set(REQUIRED)
