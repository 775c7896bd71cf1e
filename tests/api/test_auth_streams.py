"""A stream ends with the credential that opened it."""

from __future__ import annotations

import time

import httpx

from api.middleware.cookies import COOKIE
from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.credentials import digest
from core.accounts.sessions import revoke_session
from tests.api.web import Web, serving


async def test_an_open_stream_over_http_ends(web: Web, browser: httpx.AsyncClient) -> None:
    cookie = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    async with serving(web) as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/api/events"
        async with client.stream("GET", url, headers=cookie) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == ": open"
            start = time.monotonic()
            await revoke_session(web.store.redis, FIRST_ACCOUNT, digest(browser.cookies[COOKIE]))
            rest = [line async for line in lines if line]
            assert rest == ["event: signed_out"]
            assert time.monotonic() - start < 1
