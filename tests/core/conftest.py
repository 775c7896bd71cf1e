"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from core.backup.write import write_backup
from core.conversations.hub import Hub
from core.store.client import Store
from core.store.opening import open_untouched_store
from tests.support.backups import KEY
from tests.support.desk import Desk
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.readers import open_hub


@pytest.fixture
def desk(store: Store) -> Desk:
    """Conversations on an empty server."""
    return Desk(store)


@pytest.fixture
async def proxy(redis_url: str) -> AsyncGenerator[FaultProxy]:
    """A proxy in front of the test server."""
    async with fault_proxy(redis_url) as running:
        yield running


@pytest.fixture
async def hub(redis_url: str) -> AsyncGenerator[Hub]:
    """A hub that listens to the test server."""
    async with open_hub(redis_url) as running:
        yield running


@pytest.fixture
async def empty(store: Store, redis_url: str) -> AsyncGenerator[Store]:
    """A second, empty database of the test server, as a restore opens it."""
    async with open_untouched_store(f"{redis_url}?db=1", half_restored=True) as opened:
        yield opened
    assert store


@pytest.fixture
async def backup_file(desk: Desk, tmp_path: Path) -> Path:
    """A good backup of one conversation."""
    await desk.send(await desk.thread(), "m1")
    return (await write_backup(desk.store, tmp_path / "good", key=KEY)).path
