"""The web application as it is served, in this process, and somebody who may use it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from api.app import create_app
from api.middleware.origins import Listening
from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import create_key
from core.accounts.principal import Scope
from core.services import open_process
from core.settings.source import load

PORT = 8080


@asynccontextmanager
async def site(redis_url: str, home: Path, *, scope: Scope) -> AsyncGenerator[httpx.AsyncClient]:
    """A client with an API key of the scope. All routes, the real guard, a real store."""
    loaded = load({"ASSISTANT_HOME": str(home)})
    async with open_process(loaded, redis_url, role="api") as process:
        app, _ = create_app(process, Listening(PORT))
        _, key = await create_key(process.services.store.redis, FIRST_ACCOUNT, "tests", scope)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url=f"http://127.0.0.1:{PORT}",
            headers={"authorization": f"Bearer {key}"},
        ) as client:
            yield client
