"""What every process holds, whatever it does."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from core.services import open_process
from core.settings.source import LIFELINE_VARIABLE, Loaded, build
from core.store import keys
from core.store.client import Store
from core.store.exclusive import running_processes
from core.store.redis import RedisClient
from core.telemetry.share import Sharing
from tests.support.waiting import wait_until


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Settings of a fresh home."""
    return build(tmp_path, (("environment", {"model": {"name": "from-env"}}),))


async def test_a_process_is_seen_by_whoever_wants_the_state_for_itself(
    redis: RedisClient, redis_url: str, loaded: Loaded
) -> None:
    async with open_process(loaded, redis_url, role="smoke-signals"):
        assert await running_processes(redis) == 1
    await wait_until(lambda: _nobody(redis))


async def _nobody(redis: RedisClient) -> bool:
    return await running_processes(redis) == 0


async def test_a_process_follows_settings_that_another_one_saves(
    redis_url: str, loaded: Loaded
) -> None:
    async with (
        open_process(loaded, redis_url, role="worker") as one,
        open_process(loaded, redis_url, role="smoke-signals") as two,
    ):
        assert two.services.settings.current.model.name == "from-env"
        await one.services.settings.save("model", {"name": "saved"})
        await wait_until(lambda: two.services.settings.current.model.name == "saved")


async def test_all_that_a_process_hears_comes_over_one_connection(
    redis: RedisClient, redis_url: str, loaded: Loaded
) -> None:
    heard: list[str | None] = []

    async def note(text: str | None) -> None:
        heard.append(text)

    async with open_process(loaded, redis_url, role="worker") as process:
        await process.announcements.hear(keys.cancellations(), note)
        await wait_until(lambda: heard == [None])
        await redis.publish(keys.cancellations(), "r1")
        await wait_until(lambda: heard == [None, "r1"])
        assert len(await redis.client_list(_type="pubsub")) == 1


async def test_each_process_leaves_figures_under_its_role(
    store: Store, redis_url: str, loaded: Loaded
) -> None:
    async with open_process(loaded, redis_url, role="smoke-signals") as process:
        assert (process.shared.role, process.shared.name) == ("smoke-signals", process.name)
    left = await Sharing(store, "api", "looks").everybody()
    assert ("smoke-signals", process.name) in [(one.role, one.process) for one in left]


async def test_a_process_ends_with_its_supervisor(
    redis_url: str, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    monkeypatch.setenv(LIFELINE_VARIABLE, str(read))
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    try:
        async with open_process(loaded, redis_url, role="worker"):
            assert not asked.is_set()
            os.close(write)
            async with asyncio.timeout(5):
                await asked.wait()
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        os.close(read)
