"""Every key in Redis is of a declared kind and lives as long as that says (house style 15)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from core.store import keys
from core.store.connection import connect
from core.store.kinds import Kind
from tests.support.stack import PASSWORD, Stack, events, running_stack
from tests.support.waiting import wait_until


@pytest.mark.timeout(90)
async def test_every_key_is_as_declared_and_deleting_leaves_none() -> None:
    async with running_stack() as stack, stack.client() as client:
        thread = await live_a_little(stack)
        redis: Any = connect(stack.server.url)
        await wait_until(lambda: _settled(redis), timeout=30)
        found = [name.decode() for name in await redis.keys("*")]
        ephemeral = {
            name.split("}")[0]
            for name in found
            if keys.KINDS.kind_of(name) is kind_of(keys.meta) and await redis.hexists(name, "ttl")
        }
        wrong = [line for name in found for line in await _faults(redis, name, ephemeral)]
        assert (await client.delete(f"/api/threads/{thread}")).status_code == 204
        await wait_until(lambda: _settled(redis), timeout=30)
        left = [name.decode() for name in await redis.keys(keys.all_of_thread(thread))]
        await redis.aclose()
    assert ephemeral, "the OpenAI client made a conversation that expires"
    assert keys.kept(thread) in found, "a long result was kept"
    assert wrong == []
    expiring = [kind for kind in keys.KINDS if kind.ttl]
    assert [name for name in left if keys.KINDS.kind_of(name) not in expiring] == []


def kind_of(name: Callable[..., str]) -> Kind:
    """The kind whose names a function makes."""
    return next(kind for kind in keys.KINDS if kind.name is name)


async def _faults(redis: Any, name: str, ephemeral: set[str]) -> list[str]:
    """What is not as declared."""
    if name.startswith(keys.docket_name()):
        return []
    kind = keys.KINDS.kind_of(name)
    if kind is None:
        return [f"{name}: not declared in core/store/keys.py"]
    ttl, type_ = int(await redis.ttl(name)), (await redis.type(name)).decode()
    if ttl == -2:
        return []
    faults: list[str] = []
    if kind.type not in (type_, "several"):
        faults.append(f"{name}: is a {type_}, declared as {kind.type}")
    if kind.ttl and not 0 <= ttl <= kind.ttl:
        faults.append(f"{name}: expires in {ttl} s, declared as at most {kind.ttl}")
    if ttl == -1 and name.split("}")[0] in ephemeral:
        faults.append(f"{name}: should expire with its conversation")
    return faults


async def live_a_little(stack: Stack) -> str:
    """What people do in a day; the value is the conversation in which most of it happened."""
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
        for text in ("tool:get_profile {}", 'tool:set_profile {"key":"name","value":"Eve"}'):
            await ai.chat.completions.create(
                model="assistant", messages=[{"role": "user", "content": text}]
            )
    return str(thread)


async def _settled(redis: Any) -> bool:
    """Nothing waits, and the background has counted and erased what it had to."""
    return not await redis.exists(keys.pending(), keys.doorbell(), keys.deleted())
