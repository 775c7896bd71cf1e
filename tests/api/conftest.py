"""Fixtures of the HTTP tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import pytest

from core.accounts.setup_token import ensure_setup_token
from core.settings.groups import Settings
from core.store.client import Store
from tests.api.web import HERE, PASSWORD, Web, build


@pytest.fixture
async def web(store: Store, settings: Settings) -> AsyncGenerator[Web]:
    """The app, not set up yet, listening for revocations."""
    settings.home.mkdir(parents=True)
    built = build(store, settings)
    async with built.auth.running():
        yield built


@pytest.fixture
async def stranger(web: Web) -> AsyncGenerator[httpx.AsyncClient]:
    """A client without any credential."""
    async with web.client() as client:
        yield client


@pytest.fixture
async def setup_token(web: Web) -> str:
    """The token of the set-up link."""
    token = await ensure_setup_token(web.store.redis, web.live.current.home)
    assert token is not None
    return token


@pytest.fixture
async def browser(web: Web, setup_token: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A signed-in browser: it has the cookie, and says which page asks."""
    async with web.client(origin=HERE) as client:
        body = {"token": setup_token, "password": PASSWORD}
        answer = await client.post("/api/setup", json=body)
        assert answer.status_code == 204
        yield client
