"""`assistant user export|erase` and GET /api/export, on a running assistant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx

from core.accounts.credentials import digest
from core.conversations.threads import Threads
from core.home.embedded import start_server
from core.settings.groups import StoreSettings
from core.store import keys
from core.store.opening import open_store
from core.store.redis import RedisClient
from tests.support.commands import command
from tests.support.rich_state import say, until_idle
from tests.support.stack import PASSWORD, Stack, events, running_stack
from tests.support.waiting import wait_until

MARKER = "planted-marker-4711"
OTHER = "somebody-else-0815"
READ: dict[str, tuple[str | int, ...]] = {
    "string": ("GET",),
    "hash": ("HGETALL",),
    "list": ("LRANGE", 0, -1),
    "set": ("SMEMBERS",),
    "zset": ("ZRANGE", 0, -1),
    "stream": ("XRANGE", "-", "+"),
}
"""Type of a key → command that tells its whole value."""


async def contents(redis: RedisClient) -> bytes:
    """Every name and value in Redis, pydocket's too, as the server tells them."""
    found: list[bytes] = []
    async for name in redis.scan_iter(count=1000):
        kind = (await redis.type(name)).decode()
        first, *more = READ[kind]
        value = await redis.execute_command(first, name, *more)
        found += (name, repr(value).encode())
    return b"\n".join(found)


def on_disk(home: Path) -> list[str]:
    """Files of the server and of ours that hold the marker."""
    folders = (home / "redis", home / "run")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if MARKER.encode() in path.read_bytes()]


async def plant(stack: Stack, redis: RedisClient) -> str:
    """Leave the marker wherever a user can leave something; the value is the thread."""
    async with stack.client() as client:
        await client.put("/api/profile", json={"nickname": MARKER})
        await client.post("/api/keys", json={"name": MARKER})
        made = await client.post("/api/threads", json={"title": MARKER})
        thread = str(made.json()["id"])
        await say(client, thread, f"my word is {MARKER}", f"m1-{MARKER}")
        await say(client, thread, f'tool:set_profile {{"key":"word","value":"{MARKER}"}}', "m2")
        await until_idle(client, thread)
        gone = str((await client.post("/api/threads", json={})).json()["id"])
        await say(client, gone, MARKER, "m1")
        await until_idle(client, gone)
        body = {"model": "assistant", "messages": [{"role": "user", "content": MARKER}]}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
    browser = {"user-agent": MARKER, "origin": stack.url}
    async with httpx.AsyncClient(base_url=stack.url, headers=browser) as client:
        signed_in = await client.post("/api/login", json={"password": PASSWORD})
        assert signed_in.status_code == 204, signed_in.text
    dead = {"thread": thread, "message": MARKER, "why": MARKER, "at": "now"}
    await redis.xadd(keys.dead_letters(), dead)
    kept = {"thread": "t_other", "message": OTHER, "why": "", "at": "now"}
    await redis.xadd(keys.dead_letters(), kept)
    # What the job of a deletion has not removed yet.
    await redis.rename(keys.meta(gone), "asst:scrap")
    await redis.delete("asst:scrap")
    await redis.zrem(keys.user_threads("owner"), gone)
    return thread


async def test_nothing_of_an_erased_user_is_left_anywhere() -> None:
    async with running_stack() as stack, open_store(stack.server.url) as store:
        redis = store.redis
        await Threads(store).create("u2", title=OTHER)
        thread = await plant(stack, redis)
        async with stack.client() as client:
            await say(client, thread, f"bench:2000:20 {MARKER}", "m3")
            await say(client, thread, "bench:2000:20", "m4")
            stream = events(client, f"/api/threads/{thread}/events", until_idle=False)
            async for event in stream:
                if event.type == "turn_started" and event.data["message_id"] == "m4":
                    break
        assert MARKER.encode() in await contents(redis)
        assert on_disk(stack.home), "the check would see nothing"
        done = await command(stack.home, "user", "erase", "owner", "--yes", "--json")
        assert done.code == 0, done.err
        summary = json.loads(done.out)
        assert (summary["threads"], summary["disk"]) == (2, "rewritten")
        await wait_until(lambda: not on_disk(stack.home))
        left = await contents(redis)
        assert MARKER.encode() not in left
        assert thread.encode() not in left
        assert left.count(OTHER.encode()) == 2, "what belongs to others stays"
        await check_set_up_again(stack, str(summary["setup_link"]))


async def check_set_up_again(stack: Stack, link: str) -> None:
    """The old credentials are dead; the link makes a new administrator, whose chat works."""
    async with stack.client() as client:
        assert (await client.get("/api/me")).status_code == 401
    url, token = re.fullmatch(r"(http://[^/]+)/setup#(.+)", link).groups()  # pyright: ignore[reportOptionalMemberAccess] - then it fails
    assert url == stack.url
    async with httpx.AsyncClient(base_url=url, headers={"origin": url}) as client:
        body = {"token": token, "password": "another password"}
        assert (await client.post("/api/setup", json=body)).status_code == 204
        assert (await client.get("/api/threads")).json()["items"] == []
        assert (await client.get("/api/profile")).text.count("nickname") == 0
        made = await client.post("/api/threads", json={})
        await say(client, made.json()["id"], "bench:3", "m1")
        await until_idle(client, made.json()["id"])


async def test_an_export_holds_everything_and_no_key() -> None:
    async with running_stack() as stack:
        async with stack.client() as client:
            await client.put("/api/profile", json={"name": "Ада"})
            thread = (await client.post("/api/threads", json={"title": "First"})).json()["id"]
            await say(client, thread, "tool:current_time {}", "m1")
            await until_idle(client, thread)
            answer = await client.get("/api/export")
        assert answer.status_code == 200
        assert "attachment; filename=" in answer.headers["content-disposition"]
        done = await command(stack.home, "user", "export", "owner", "-")
        assert done.code == 0, done.err
        file = stack.home / "export.json"
        written = await command(stack.home, "user", "export", "owner", str(file))
        assert (written.code, written.out) == (0, "")
        assert file.stat().st_mode & 0o777 == 0o600
        for text in (answer.text, done.out, file.read_text(encoding="utf-8")):
            check_export(json.loads(text))
            assert "Ада" in text, "readable"
            for secret in (stack.key, digest(stack.key), "argon2", stack.key[:8]):
                assert secret not in text
        again = await command(stack.home, "user", "export", "owner", str(file))
        assert (again.code, "exists" in again.err) == (1, True)


def check_export(data: dict[str, Any]) -> None:
    """What must be in the export of the test above."""
    assert (data["format"], data["user_id"]) == (1, "owner")
    assert data["profile"] == {"name": "Ада"}
    assert [key["name"] for key in data["api_keys"]] == ["tests"]
    assert data["usage"][0]["calls"] == 3  # the last one grades the answer
    [conversation] = data["conversations"]
    assert (conversation["title"], conversation["ephemeral"]) == ("First", False)
    question, reply = conversation["messages"]
    assert (question["text"], question["role"]) == ("tool:current_time {}", "user")
    assert reply["tools"][0]["name"] == "current_time"


async def test_erasing_asks_and_knows_whom(tmp_path: Path) -> None:
    home = tmp_path
    assert (await command(home, "user", "erase", "owner", "--yes")).code == 2
    assert (await command(home, "key", "create", "--name", "x")).code == 0
    refused = await command(home, "user", "erase", "owner", given="no\n")
    assert (refused.code, "nothing was erased" in refused.err) == (1, True)
    assert "Type owner to do it" in refused.err
    assert "x" in (await command(home, "key", "list")).out
    for action in (("erase", "nobody", "--yes"), ("export", "nobody", "-")):
        unknown = await command(home, "user", *action)
        assert (unknown.code, "no data of a user 'nobody'" in unknown.err) == (1, True)
    done = await command(home, "user", "erase", "owner", given="owner\n")
    assert done.code == 0, done.err
    assert "/setup#" in done.out
    assert "There are no keys" in (await command(home, "key", "list")).out


async def test_an_erasing_that_died_is_finished_by_the_next(tmp_path: Path) -> None:
    server = await start_server(tmp_path, StoreSettings())
    async with open_store(server.url) as store:
        thread = await Threads(store).create("u1", title=MARKER)
        await store.redis.rpush(keys.transcript(thread.id), MARKER)
        # Noted down and out of reach, not erased yet: the process was killed here.
        await store.redis.sadd(keys.erasing("u1"), thread.id)
        await store.redis.delete(keys.meta(thread.id), keys.user_threads("u1"))
        done = await command(tmp_path, "user", "erase", "u1", "--yes")
        assert done.code == 0, done.err
        assert MARKER.encode() not in await contents(store.redis)
        assert await store.redis.exists(keys.erasing("u1")) == 0
    await server.stop()
