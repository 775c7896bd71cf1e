"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from core.store import Store
from tests.support.desk import Desk
from tests.support.fault_proxy import FaultProxy, fault_proxy


@pytest.fixture
def desk(store: Store) -> Desk:
    """Conversations on an empty server."""
    return Desk(store)


@pytest.fixture
async def proxy(redis_url: str) -> AsyncGenerator[FaultProxy]:
    """A proxy in front of the test server."""
    async with fault_proxy(redis_url) as running:
        yield running
