"""Every key in Redis has an owner, and a life time or a reason to have none (house style 15)."""

from __future__ import annotations

import re
from typing import Any

import openai
import pytest

from core.store.connection import connect
from tests.support.stack import PASSWORD, Stack, events, running_stack
from tests.support.waiting import wait_until

THREAD = r"asst:\{t_[a-z0-9]+\}"
EXPIRES = "expires"
"""Every key of this kind has a TTL."""

KEYS = {
    rf"{THREAD}:meta": "until the user deletes the conversation",
    rf"{THREAD}:in": "consumed: gone when nothing waits",
    rf"{THREAD}:ids": EXPIRES,
    rf"{THREAD}:ls": EXPIRES,
    rf"{THREAD}:ctl": "until the user deletes the conversation",
    rf"{THREAD}:ev": "capped, until the user deletes the conversation",
    rf"{THREAD}:log": "the transcript, until the user deletes the conversation",
    rf"{THREAD}:kept": "bounded, until the user deletes the conversation",
    rf"{THREAD}:usage": "until the user deletes the conversation",
    rf"{THREAD}:cx:.+": EXPIRES,
    rf"{THREAD}:cp:[nicbw]:.*": "pruned, until the user deletes the conversation",
    r"asst:u:\{owner\}:(threads|profile|sessions|keys)": "as long as the account",
    r"asst:u:\{owner\}:usage:\d{4}-\d\d-\d\d": EXPIRES,
    r"asst:auth:owner": "the password, as long as the installation",
    r"asst:auth:k:[0-9a-f]{64}": "until the key is revoked",
    r"asst:auth:s:[0-9a-f]{64}": EXPIRES,
    r"asst:auth:setup": EXPIRES,
    r"asst:auth:try:.+": EXPIRES,
    r"asst:(pending|bell)": "consumed: gone when nothing waits",
    r"asst:dead": "capped, for the administrator",
    r"asst:workers": "trimmed by the workers",
    r"asst:worker:.+": EXPIRES,
    r"asst:settings:.+": "what the user saved",
    r"asst:settings-version": "one counter",
    r"asst:graph": "one drawing",
    r"asst:installation": "one hash",
    r"asst:caps:[0-9a-f]+": EXPIRES,
    r"asst:metrics(:.+)?": EXPIRES,
    r"asst-jobs:.+": "docket's own; entries end with their job",
}


@pytest.mark.timeout(90)
async def test_every_key_has_an_owner_and_a_life_time() -> None:
    async with running_stack() as stack, stack.client() as client:
        await live_a_little(stack)
        redis: Any = connect(stack.server.url)
        await wait_until(lambda: _settled(redis), timeout=30)
        found: dict[str, int] = {
            name.decode(): await redis.ttl(name) for name in await redis.keys("*")
        }
        ephemeral = {
            name.decode().split("}")[0]
            for name in await redis.keys("asst:{*}:meta")
            if await redis.hexists(name, "ttl")
        }
        await redis.aclose()
        assert client is not None
    assert ephemeral, "the OpenAI client made a conversation that expires"
    assert [name for name in found if name.endswith("}:kept")], "a long result was kept"
    wrong: list[str] = []
    for name, ttl in sorted(found.items()):
        reason = next((why for shape, why in KEYS.items() if re.fullmatch(shape, name)), None)
        if reason is None:
            wrong.append(f"{name}: no owner")
        elif ttl == -1 and (reason == EXPIRES or name.split("}")[0] in ephemeral):
            wrong.append(f"{name}: should expire")
    assert wrong == []


async def live_a_little(stack: Stack) -> None:
    """What people do in a day."""
    async with stack.client() as client:
        created = await client.post("/api/threads", json={"title": "Kept"})
        thread = created.json()["id"]
        path = f"/api/threads/{thread}"
        for text in ("bench:5", 'tool:set_profile {"key":"name","value":"Ada"}', "bench:900:20"):
            sent = await client.post(f"{path}/messages", json={"text": text})
            if text == "bench:900:20":
                await client.post(f"/api/runs/{sent.json()['run_id']}/cancel")
            async for _ in events(client, f"{path}/events"):
                pass
        answer = await client.post(f"{path}/retry")
        await client.post(f"/api/runs/{answer.json()['run_id']}/cancel")
        async for _ in events(client, f"{path}/events"):
            pass
        long = {f"fact_{number}": "x" * 900 for number in range(40)}
        assert (await client.put("/api/profile", json=long)).status_code == 200
        await client.post(f"{path}/messages", json={"text": "tool:get_profile {}"})
        async for _ in events(client, f"{path}/events"):
            pass
        await client.put("/api/settings/orchestrator", json={"max_iterations": 4})
        await client.post("/api/model/test", json={})
        await client.post("/api/login", json={"password": "wrong"})
        await client.post("/api/login", json={"password": PASSWORD})
        gone = (await client.post("/api/threads", json={})).json()["id"]
        await client.post(f"/api/threads/{gone}/messages", json={"text": "bench:3"})
        async for _ in events(client, f"/api/threads/{gone}/events"):
            pass
        assert (await client.delete(f"/api/threads/{gone}")).status_code == 204
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=stack.key) as ai:
        await ai.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": "tool:current_time {}"}]
        )


async def _settled(redis: Any) -> bool:
    """Nothing waits, and the background has counted and erased what it had to."""
    return not await redis.exists("asst:pending", "asst:bell", "asst:deleted")
