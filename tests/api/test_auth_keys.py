"""API keys: shown once, scoped, revocable, and what Redis being away does to sign-in."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import create_key, list_keys, revoke_key
from core.accounts.credentials import digest, read_fields
from core.errors import Invalid
from core.settings.groups import Settings
from core.store import keys
from core.store.client import Store
from core.store.connection import connect
from core.store.scripts import read_scripts
from tests.api.web import Web, build


async def test_a_key_is_shown_once_used_and_revoked(
    web: Web, browser: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    made = await browser.post("/api/keys", json={"name": "script"})
    assert made.status_code == 201
    key = made.json()["key"]
    assert key.startswith(made.json()["prefix"])
    assert (len(key), len(made.json()["prefix"])) == (46, 8)
    headers = {"authorization": f"Bearer {key}"}
    assert (await stranger.get("/api/me", headers=headers)).json()["kind"] == "key"
    (listed,) = (await browser.get("/api/keys")).json()["items"]
    assert "key" not in listed
    assert listed["last_used_at"] is not None
    assert listed["scope"] == "chat"
    assert (await browser.delete(f"/api/keys/{listed['id']}")).status_code == 204
    async with asyncio.timeout(1):
        while (await stranger.get("/api/me", headers=headers)).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await browser.delete(f"/api/keys/{listed['id']}")).status_code == 404


async def test_a_key_cannot_do_what_needs_a_browser(web: Web, stranger: httpx.AsyncClient) -> None:
    _, secret = await create_key(web.store.redis, FIRST_ACCOUNT, "admin", "admin")
    headers = {"authorization": f"Bearer {secret}"}
    for path in ("/api/logout", "/api/reauth"):
        answer = await stranger.post(path, headers=headers, json={"password": "x"})
        assert (answer.status_code, answer.json()["code"]) == (403, "session_needed")
    assert (await stranger.get("/api/keys", headers=headers)).status_code == 200


async def test_keys_expire(web: Web, stranger: httpx.AsyncClient) -> None:
    redis = web.store.redis
    soon = datetime.now(UTC) + timedelta(hours=1)
    key_id, secret = await create_key(redis, FIRST_ACCOUNT, "brief", "chat", expires_at=soon)
    headers = {"authorization": f"Bearer {secret}"}
    assert (await stranger.get("/api/me", headers=headers)).status_code == 200
    assert 3500 < await redis.ttl(keys.api_key(digest(secret))) <= 3600
    await redis.pexpire(keys.api_key(digest(secret)), 1)
    async with asyncio.timeout(2):
        while (await stranger.get("/api/me", headers=headers)).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await list_keys(redis, FIRST_ACCOUNT) == []
    assert not await revoke_key(redis, FIRST_ACCOUNT, key_id)
    for name in ("", "x" * 101):
        with pytest.raises(Invalid):
            await create_key(redis, FIRST_ACCOUNT, name, "chat")
    with pytest.raises(Invalid):
        await create_key(redis, FIRST_ACCOUNT, "late", "chat", expires_at=datetime.now(UTC))


async def test_last_use_is_written_once_a_minute(web: Web, stranger: httpx.AsyncClient) -> None:
    redis = web.store.redis
    _, secret = await create_key(redis, FIRST_ACCOUNT, "busy", "chat")
    headers = {"authorization": f"Bearer {secret}"}
    await stranger.get("/api/me", headers=headers)
    name = keys.api_key(digest(secret))
    first = (await read_fields(redis, name))["used_at"]
    earlier = (datetime.now(UTC) - timedelta(seconds=50)).isoformat()
    await redis.execute_command("HSET", name, "used_at", earlier)
    web.auth.directory.forget(digest(secret))
    await stranger.get("/api/me", headers=headers)
    assert first
    assert (await read_fields(redis, name))["used_at"] == earlier


@pytest.mark.parametrize(
    "expires_at", ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2030-01-01T00:00:00", 1]
)
async def test_useless_ends_of_keys(browser: httpx.AsyncClient, expires_at: object) -> None:
    answer = await browser.post("/api/keys", json={"name": "k", "expires_at": expires_at})
    assert answer.status_code == 422


async def test_a_key_may_outlive_everybody(browser: httpx.AsyncClient) -> None:
    body = {"name": "k", "expires_at": "9999-12-31T23:59:59-12:00"}
    assert (await browser.post("/api/keys", json=body)).status_code == 201


@pytest.mark.parametrize("wanted", [None, "9999-12-31T23:59:59Z"])
async def test_a_key_that_ends_makes_none_that_lasts_longer(
    web: Web, stranger: httpx.AsyncClient, wanted: str | None
) -> None:
    """A key for one hour made one that never ended."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    _, secret = await create_key(web.store.redis, FIRST_ACCOUNT, "brief", "admin", expires_at=soon)
    headers = {"authorization": f"Bearer {secret}"}
    body = {"name": "child", "scope": "admin", "expires_at": wanted}
    made = (await stranger.post("/api/keys", json=body, headers=headers)).json()
    assert datetime.fromisoformat(made["expires_at"]) == soon
    assert 3500 < await web.store.redis.ttl(keys.api_key(digest(made["key"]))) <= 3600


async def test_signed_in_people_go_on_while_redis_refuses_writes(
    web: Web, stranger: httpx.AsyncClient
) -> None:
    redis = web.store.redis
    _, secret = await create_key(redis, FIRST_ACCOUNT, "k", "chat")
    await redis.config_set("maxmemory", "1")
    try:
        headers = {"authorization": f"Bearer {secret}"}
        assert (await stranger.get("/api/me", headers=headers)).status_code == 200
        answer = await stranger.post("/api/login", json={"password": "x"})
        assert (answer.status_code, answer.json()["code"]) == (503, "store_full")
    finally:
        await redis.config_set("maxmemory", "0")


async def test_without_redis_the_guard_says_so_in_time(tmp_path: Path, settings: Settings) -> None:
    redis = connect(f"unix://{tmp_path}/nobody.sock")
    web = build(Store(redis, read_scripts()), settings)
    async with web.client() as client:
        assert (await client.get("/healthz")).status_code == 200
        async with asyncio.timeout(3):
            headers = {"authorization": "Bearer ak_" + "x" * 43}
            answer = await client.get("/api/me", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer.headers["retry-after"]
    await redis.aclose()


async def test_a_key_of_scope_v1_opens_v1_and_nothing_else(
    web: Web, browser: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    made = (await browser.post("/api/keys", json={"name": "editor", "scope": "v1"})).json()
    assert made["scope"] == "v1"
    headers = {"authorization": f"Bearer {made['key']}"}
    assert (await stranger.get("/v1/models", headers=headers)).status_code == 200
    paths = {item.path for item in web.served if item.scope != "open"} | {"/", "/v1x", "/api"}
    for path in sorted(paths):
        if not path.startswith("/v1/"):
            for method in ("GET", "POST", "DELETE"):
                answer = await stranger.request(method, path, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (403, "scope"), path


async def test_a_key_of_an_unknown_scope_has_the_least(
    web: Web, stranger: httpx.AsyncClient
) -> None:
    _, secret = await create_key(web.store.redis, FIRST_ACCOUNT, "k", "chat")
    await web.store.redis.hset(keys.api_key(digest(secret)), "scope", "of a later version")
    headers = {"authorization": f"Bearer {secret}"}
    assert (await stranger.get("/v1/models", headers=headers)).status_code == 200
    assert (await stranger.get("/api/me", headers=headers)).status_code == 403
