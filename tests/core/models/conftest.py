"""Fixtures of the gateway's tests: quirks server, gateway, settings for a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from core.models.gateway import Gateway
from core.settings.groups import CloudSettings, ModelSettings, Settings
from core.store.redis import RedisClient
from tests.support.gateways import TELLING, opened
from tests.support.quirks_server import ModelServer, serve_quirks


@pytest.fixture
async def quirks() -> AsyncGenerator[ModelServer]:
    """The recorded quirks, replayed."""
    async with serve_quirks() as server:
        yield server


@pytest.fixture
async def gateway(redis: RedisClient, settings: Settings) -> AsyncGenerator[Gateway]:
    """A gateway that is quick to retry, and looks for servers nowhere."""
    async with opened(redis, settings) as it:
        yield it


@pytest.fixture
async def telling(redis: RedisClient, settings: Settings) -> AsyncGenerator[Gateway]:
    """The same, and quick to tell that nothing comes."""
    async with opened(redis, settings, timing=TELLING) as it:
        yield it


@pytest.fixture
def at(tmp_path: Path) -> Callable[..., Settings]:
    """Settings for the model server at a base URL."""

    def make(base_url: str, *, cloud: CloudSettings | None = None, **model: Any) -> Settings:
        values: dict[str, Any] = {"base_url": base_url, "name": "m", **model}
        return Settings(
            home=tmp_path, model=ModelSettings(**values), cloud=cloud or CloudSettings()
        )

    return make
