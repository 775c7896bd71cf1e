"""The sign-in page, and pages while Redis does not say who is there."""

from __future__ import annotations

import httpx
from starlette.responses import Response
from starlette.types import Scope

from core.accounts.accounts import FIRST_ACCOUNT
from core.store.client import Store
from core.store.connection import connect
from core.store.scripts import read_scripts
from tests.api.web import Web, build
from tests.support.canned_redis import canned_redis, error


async def test_the_sign_in_page_knows_who_is_signed_in(
    web: Web, browser: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    assert (await browser.get("/login")).text == f"<p>page of {FIRST_ACCOUNT}</p>"
    assert (await stranger.get("/login")).text == "<p>page of nobody</p>"
    for path in ("/setup", "/static/app.js"):
        assert (await browser.get(path)).text == "<p>page of nobody</p>"
    cookies = dict(browser.cookies)
    assert (await browser.post("/api/logout")).status_code == 204
    async with web.client() as again:
        again.cookies.update(cookies)
        assert (await again.get("/login")).text == "<p>page of nobody</p>"


async def test_people_get_a_page_and_programs_a_problem_while_redis_refuses(
    web: Web, browser: httpx.AsyncClient
) -> None:
    seen: list[str] = []

    def away(scope: Scope) -> Response:
        seen.append(scope["path"])
        return Response("away", 503)

    async with canned_redis(lambda command: error("ERR no, thank you")) as url:
        redis = connect(url)
        refusing = build(Store(redis, read_scripts()), web.live.current, away=away)
        async with refusing.client(accept="text/html,*/*") as client:
            client.cookies.update(dict(browser.cookies))
            assert (await client.get("/")).text == "away"
            for path in ("/api/threads", "/v1/models"):
                answer = await client.get(path)
                assert answer.status_code == 503
                assert "json" in answer.headers["content-type"]
            client.headers["accept"] = "*/*"
            assert (await client.get("/")).json()["code"] == "store_error"
        await redis.aclose()
    assert seen == ["/"]


async def test_the_sign_in_page_opens_while_redis_refuses(
    web: Web, browser: httpx.AsyncClient
) -> None:
    async with canned_redis(lambda command: error("ERR no, thank you")) as url:
        redis = connect(url)
        refusing = build(Store(redis, read_scripts()), web.live.current)
        async with refusing.client() as client:
            client.cookies.update(dict(browser.cookies))
            assert (await client.get("/")).status_code == 503
            answer = await client.get("/login")
            assert (answer.status_code, answer.text) == (200, "<p>page of nobody</p>")
        await redis.aclose()
