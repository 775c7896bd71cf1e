"""Set-up, sign-in, sessions and API keys, over HTTP and a real server."""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import Request

from api.middleware.cookies import COOKIE
from api.middleware.principal import just_confirmed
from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.credentials import digest
from core.accounts.passwords import reset_password
from core.accounts.principal import Principal
from core.accounts.setup_token import TOKEN_FILE, ensure_setup_token
from core.errors import Forbidden
from core.store import keys
from core.store.redis import RedisClient
from tests.api.web import HERE, PASSWORD, Web

# ---- set-up


async def test_ten_at_once_set_up_and_one_wins(
    stranger: httpx.AsyncClient, setup_token: str
) -> None:
    bodies = [{"token": setup_token, "password": f"password {n}"} for n in range(10)]
    answers = await asyncio.gather(*(stranger.post("/api/setup", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [204] + [410] * 9
    won = next(body for body, a in zip(bodies, answers, strict=True) if a.status_code == 204)
    stranger.cookies.clear()
    login = await stranger.post("/api/login", json={"password": won["password"]})
    assert login.status_code == 204


async def test_set_up_signs_in_and_then_is_gone_for_ever(
    web: Web, browser: httpx.AsyncClient, setup_token: str
) -> None:
    assert (await browser.get("/api/me")).json() == {
        "user_id": FIRST_ACCOUNT,
        "kind": "session",
        "scopes": ["admin", "chat"],
        "name": FIRST_ACCOUNT,
        "role": "admin",
        "language": "",
        "time_zone": "",
    }
    home = web.live.current.home
    assert await ensure_setup_token(web.store.redis, home) is None
    assert not (home / TOKEN_FILE).exists()
    for token in (setup_token, "wrong"):
        body = {"token": token, "password": "another password"}
        answer = await browser.post("/api/setup", json=body)
        assert (answer.status_code, answer.json()["code"]) == (410, "already_set_up")


async def test_wrong_links_and_passwords_do_not_set_up(
    stranger: httpx.AsyncClient, setup_token: str
) -> None:
    for token, password, status in (
        ("wrong", PASSWORD, 403),
        ("", PASSWORD, 403),
        (setup_token, "short", 422),
        (setup_token, "x" * 1025, 422),
        (setup_token, "password", 204),
    ):
        body = {"token": token, "password": password}
        assert (await stranger.post("/api/setup", json=body)).status_code == status


async def test_before_set_up_sign_in_says_so(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.post("/api/login", json={"password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_set_up")


# ---- sign-in


async def test_the_sixth_try_in_a_minute_waits_but_nobody_is_banned(
    web: Web, browser: httpx.AsyncClient
) -> None:
    for _ in range(5):
        assert (await browser.post("/api/login", json={"password": "wrong!"})).status_code == 401
    answer = await browser.post("/api/login", json={"password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 0 < int(answer.headers["retry-after"]) <= 60
    tries = keys.login_attempts("192.0.2.1")
    assert 0 < await web.store.redis.ttl(tries) <= 60
    assert (await browser.get("/api/me")).status_code == 200
    await web.store.redis.delete(tries)  # the minute is over
    assert (await browser.post("/api/login", json={"password": PASSWORD})).status_code == 204


async def test_a_right_password_resets_the_count(web: Web, browser: httpx.AsyncClient) -> None:
    for _ in range(4):
        for _ in range(4):
            answer = await browser.post("/api/login", json={"password": "wrong!"})
            assert answer.status_code == 401
        assert (await browser.post("/api/login", json={"password": PASSWORD})).status_code == 204
    assert int(await web.store.redis.get(keys.login_attempts("all")) or 0) == 16


async def test_parallel_guesses_count_one_by_one(browser: httpx.AsyncClient) -> None:
    tries = [browser.post("/api/login", json={"password": f"guess {n}"}) for n in range(12)]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*tries))
    assert statuses == [401] * 5 + [429] * 7


async def test_thirty_wrong_passwords_an_hour_from_everywhere(web: Web) -> None:
    transports = [httpx.ASGITransport(web.app, client=(f"192.0.2.{n}", 1)) for n in range(1, 9)]
    statuses: list[int] = []
    for transport in transports:
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            statuses += [
                (await client.post("/api/login", json={"password": "x"})).status_code
                for _ in range(4)
            ]
    assert statuses == [409] * 30 + [429] * 2
    assert 3000 < await web.store.redis.ttl(keys.login_attempts("all")) <= 3600


async def test_a_clock_that_went_back_let_everybody_wait_for_hours(
    web: Web, browser: httpx.AsyncClient
) -> None:
    tries = keys.login_attempts("192.0.2.1")
    await web.store.redis.set(tries, 5, ex=6 * 3600)
    answer = await browser.post("/api/login", json={"password": PASSWORD})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert 0 < await web.store.redis.ttl(tries) <= 60


async def test_a_household_of_ipv6_addresses_counts_as_one(web: Web) -> None:
    statuses: list[int] = []
    for n in range(6):
        transport = httpx.ASGITransport(web.app, client=(f"2001:db8::{n + 1}", 1))
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            answer = await client.post("/api/login", json={"password": "x"})
            statuses.append(answer.status_code)
    assert statuses == [409] * 5 + [429]


async def test_no_account_and_wrong_password_take_the_same_time(
    web: Web, redis: RedisClient
) -> None:
    """Both do one argon2; a short cut would be a hundred times faster."""
    web.live.secure(login_per_minute=1000)

    async def median() -> float:
        times: list[float] = []
        async with web.client() as client:
            for _ in range(7):
                start = time.perf_counter()
                await client.post("/api/login", json={"password": "wrong!!!"})
                times.append(time.perf_counter() - start)
        return statistics.median(times)

    nobody = await median()
    await reset_password(redis, PASSWORD, account_id=FIRST_ACCOUNT)
    somebody = await median()
    assert 1 / 4 < nobody / somebody < 4


async def test_the_same_password_typed_on_another_system(web: Web, redis: RedisClient) -> None:
    await reset_password(redis, "pässword й", account_id=FIRST_ACCOUNT)
    async with web.client() as client:
        body = {"password": "pa\u0308ssword и\u0306"}
        assert (await client.post("/api/login", json=body)).status_code == 204


# ---- the cookie


async def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(
    web: Web, browser: httpx.AsyncClient
) -> None:
    answer = await browser.post("/api/login", json={"password": PASSWORD})
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert sorted(a.lower() for a in attributes) == [
        "httponly",
        "max-age=2592000",
        "path=/",
        "samesite=strict",
    ]
    async with web.client("https://127.0.0.1:8080") as secure:
        answer = await secure.post("/api/login", json={"password": PASSWORD})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-asst_session=")
        assert "secure" in cookie.lower()
        assert (await secure.get("/api/me")).status_code == 200
        plain = {"cookie": f"{COOKIE}={secure.cookies['__Host-asst_session']}"}
        secure.cookies.clear()
        assert (await secure.get("/api/me", headers=plain)).status_code == 401


async def test_signing_in_again_changes_the_token(browser: httpx.AsyncClient) -> None:
    old = browser.cookies[COOKIE]
    await browser.post("/api/login", json={"password": PASSWORD})
    assert browser.cookies[COOKIE] != old
    assert len((await browser.get("/api/sessions")).json()["items"]) == 1
    browser.cookies.clear()
    answer = await browser.get("/api/me", headers={"cookie": f"{COOKIE}={old}"})
    assert answer.status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "x" * 43, '"' * 43, "a=b; asst_session", "é" * 43])
async def test_made_up_cookies(stranger: httpx.AsyncClient, cookie: str) -> None:
    headers = {b"cookie": f"{COOKIE}={cookie}".encode()}
    assert (await stranger.get("/api/me", headers=headers)).status_code == 401


async def test_use_prolongs_the_session_and_renews_the_cookie_daily(
    web: Web, browser: httpx.AsyncClient
) -> None:
    name = keys.session(digest(browser.cookies[COOKIE]))
    redis = web.store.redis
    assert "set-cookie" not in (await browser.get("/api/me")).headers
    earlier = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    await redis.execute_command("HSET", name, "used_at", earlier)
    await redis.expire(name, 1000)
    web.auth.directory.forget(digest(browser.cookies[COOKIE]))
    answer = await browser.get("/api/me")
    assert answer.headers["set-cookie"].startswith(f"{COOKIE}={browser.cookies[COOKIE]};")
    assert await redis.ttl(name) > 2_500_000
    assert "set-cookie" not in (await browser.get("/api/me")).headers


# ---- ending


async def test_sign_out(browser: httpx.AsyncClient) -> None:
    token = browser.cookies[COOKIE]
    answer = await browser.post("/api/logout")
    assert answer.status_code == 204
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    answer = await browser.get("/api/me", headers={"cookie": f"{COOKIE}={token}"})
    assert answer.status_code == 401


async def test_sessions_can_be_seen_and_ended_one_by_one(
    web: Web, browser: httpx.AsyncClient
) -> None:
    async with web.client(**{"user-agent": "Phone" * 100}) as phone, web.client() as tablet:
        for client in (phone, tablet):
            await client.post("/api/login", json={"password": PASSWORD})
        sessions = (await browser.get("/api/sessions")).json()["items"]
        assert [s["current"] for s in sessions].count(True) == 1
        found = next(s for s in sessions if s["agent"].startswith("Phone"))
        assert found.keys() == {
            "id", "created_at", "last_used_at", "agent", "address", "current",
        }  # fmt: skip
        assert len(found["agent"]) == 200
        assert (await browser.delete(f"/api/sessions/{found['id']}")).status_code == 204
        assert (await browser.delete(f"/api/sessions/{found['id']}")).status_code == 404
        await until_refused(phone)
        assert (await tablet.get("/api/me")).status_code == 200
        assert (await browser.delete("/api/sessions")).status_code == 204
        await until_refused(tablet)
        assert (await browser.get("/api/me")).status_code == 200


async def until_refused(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(1):
        while (await client.get("/api/me")).status_code == 200:  # noqa: ASYNC110 - that is the test
            await asyncio.sleep(0.01)


async def test_a_password_reset_signs_everybody_out(web: Web, browser: httpx.AsyncClient) -> None:
    await reset_password(web.store.redis, "a new password", account_id=FIRST_ACCOUNT)
    await until_refused(browser)
    browser.cookies.clear()
    assert (await browser.post("/api/login", json={"password": PASSWORD})).status_code == 401
    answer = await browser.post("/api/login", json={"password": "a new password"})
    assert answer.status_code == 204


async def test_the_password_opens_settings_for_five_minutes(
    web: Web, browser: httpx.AsyncClient
) -> None:
    assert (await browser.post("/api/reauth", json={"password": "wrong!"})).status_code == 401
    answer = await browser.post("/api/reauth", json={"password": PASSWORD})
    until = datetime.fromisoformat(answer.json()["until"])
    assert timedelta(minutes=4) < until - datetime.now(UTC) <= timedelta(minutes=5)
    found = await web.auth.directory.session(browser.cookies[COOKIE], 30)
    assert found is not None
    assert just_confirmed(request_of(found.principal)) is found.principal
    old = Principal(
        FIRST_ACCOUNT, "session", frozenset(), "x", datetime.now(UTC) - timedelta(minutes=6)
    )
    key = Principal(FIRST_ACCOUNT, "key", frozenset({"admin"}), "x", datetime.now(UTC))
    for user, code in ((old, "reauth_needed"), (key, "session_needed")):
        with pytest.raises(Forbidden) as caught:
            just_confirmed(request_of(user))
        assert caught.value.code == code


def request_of(user: Principal) -> Request:
    return Request({"type": "http", "state": {"user": user}})


async def test_a_wrong_method_is_told_all_right_ones(browser: httpx.AsyncClient) -> None:
    for path, methods in (("/api/keys", "GET, POST"), ("/api/sessions", "DELETE, GET")):
        answer = await browser.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


# ---- at rest


async def test_redis_knows_neither_password_nor_token_nor_key(
    web: Web, browser: httpx.AsyncClient, setup_token: str
) -> None:
    key = (await browser.post("/api/keys", json={"name": "k", "scope": "admin"})).json()["key"]
    second = await ensure_setup_token(web.store.redis, web.live.current.home)
    assert second is None
    redis = web.store.redis
    names = await redis.keys("*")
    dumps = [await redis.dump(name) or b"" for name in names]
    everything = b"".join([*names, *dumps])
    for secret in (PASSWORD, setup_token, browser.cookies[COOKIE], key, key[9:]):
        assert secret.encode() not in everything
    assert b"$argon2id$" in everything
    owned = {
        keys.account(FIRST_ACCOUNT),
        keys.sessions(FIRST_ACCOUNT),
        keys.api_keys(FIRST_ACCOUNT),
    }
    for name in (name.decode() for name in names):
        if name not in owned and not name.startswith(("asst:auth:k:", "asst:installation")):
            assert await redis.ttl(name) > 0, name
