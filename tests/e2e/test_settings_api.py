"""Settings, profile, system state and the inventory of routes, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.support.quirks_server import serve
from tests.support.stack import Stack, events
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

OPEN = {"/healthz", "/readyz", "/api/login", "/api/setup"}


async def test_a_saved_setting_takes_effect_in_the_worker_without_a_restart(stack: Stack) -> None:
    async with stack.client() as client:
        good = (await client.get("/api/settings/model")).json()
        assert good["sources"]["base_url"] == "environment"
        bad = await client.put("/api/settings/model", json={"base_url": "http://127.0.0.1:9/v1"})
        assert bad.json()["sources"]["base_url"] == "saved"
        thread = (await client.post("/api/threads", json={})).json()["id"]
        path = f"/api/threads/{thread}"

        async def status() -> str:
            await client.post(f"{path}/messages", json={"text": "bench:2"})
            ends = [e async for e in events(client, f"{path}/events") if e.type == "turn_finished"]
            return str(ends[-1].data["status"])

        assert await status() == "failed"
        await client.put("/api/settings/model", json={"base_url": None})

        async def works() -> bool:
            return await status() == "completed"

        # The worker hears of it a moment after the answer.
        await wait_until(works, timeout=20)


async def test_secrets_are_never_shown(stack: Stack) -> None:
    async with stack.client() as client:
        body = {"api_key": "sk-abcdefghijklmnop"}
        saved = await client.put("/api/settings/cloud", json=body)
        assert saved.json()["values"]["api_key"] == {"set": True, "last4": "mnop"}
        assert "abcdefgh" not in (await client.get("/api/settings/cloud")).text
        cleared = await client.put("/api/settings/cloud", json={"api_key": ""})
        assert cleared.json()["values"]["api_key"] == {"set": False, "last4": ""}
        await client.put("/api/settings/cloud", json=body)
        moved = await client.put("/api/settings/cloud", json={"base_url": "https://other.host/v1"})
        assert moved.json()["values"]["api_key"]["set"] is False, "a key stays with its host"
        await client.put("/api/settings/cloud", json={"api_key": None, "base_url": None})


@pytest.mark.parametrize(
    ("group", "body", "status"),
    [
        ("model", {"nmae": "x"}, 422),
        ("model", {"temperature": 9}, 422),
        ("model", {"base_url": "nonsense"}, 422),
        ("model", {"base_url": 7}, 422),
        ("orchestrator", {"max_iterations": 0}, 422),
        ("engine", {"max_inbox": 1}, 404),
        ("nothing", {}, 404),
    ],
)
async def test_bad_settings(stack: Stack, group: str, body: dict[str, Any], status: int) -> None:
    async with stack.client() as client:
        answer = await client.put(f"/api/settings/{group}", json=body)
        assert answer.status_code == status, answer.text
        assert answer.json()["detail"]


async def test_the_model_test_finds_what_the_server_can_do(stack: Stack) -> None:
    async with stack.client() as client:
        report = (await client.post("/api/model/test", json={})).json()
        assert report["refused"] is None
        refused = (
            await client.post("/api/model/test", json={"base_url": "http://127.0.0.1:9/v1"})
        ).json()
        assert refused["refused"]
        models = (await client.get("/api/models")).json()
        assert models["configured"]["name"] == "scripted-demo"


async def test_a_test_of_a_strangers_address_does_not_send_the_saved_key(stack: Stack) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({}, status=500)

    async with stack.client() as client, serve(refuse) as stranger:
        await client.put("/api/settings/model", json={"api_key": "sk-abcdefghijklmnop"})
        for body in ({}, {"api_key": None}, {"api_key": ""}):
            asked = {"base_url": stranger.base_url, **body}
            assert (await client.post("/api/model/test", json=asked)).json()["refused"]
        await client.put("/api/settings/model", json={"api_key": None})
    assert stranger.seen
    assert not [seen for seen in stranger.seen if "Authorization" in seen.headers]


async def test_the_profile(stack: Stack) -> None:
    async with stack.client() as client:
        changed = await client.put("/api/profile", json={"name": "Ада", "time_zone": "Asia/Tokyo"})
        assert changed.json() == {"name": "Ада", "time_zone": "Asia/Tokyo"}
        assert (await client.put("/api/profile", json={"time_zone": "Mars"})).status_code == 422
        assert (await client.put("/api/profile", json={"name": None})).json() == {
            "time_zone": "Asia/Tokyo"
        }
        assert (await client.delete("/api/profile")).status_code == 200
        assert (await client.get("/api/profile")).json() == {}


async def test_the_state_of_the_system(stack: Stack) -> None:
    async with stack.client() as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).status_code == 200
        system = (await client.get("/api/system")).json()
        assert system["redis"]["version"]
        assert len(system["workers"]) == 1
        await wait_until(lambda: _idle(client))
        graph = (await client.get("/api/graph")).json()
        names = {node["id"] for node in graph["nodes"]}
        assert {"recall", "assistant", "guard", "tool_agent", "evaluate", "remember"} <= names
        assert all({edge["source"], edge["target"]} <= names for edge in graph["edges"])
        assert "assistant" in graph["mermaid"]


async def _idle(client: httpx.AsyncClient) -> bool:
    return (await client.get("/api/system")).json()["queue"]["threads_with_work"] == 0


async def test_every_route_of_the_description_asks_for_a_credential(stack: Stack) -> None:
    async with stack.client() as client:
        paths = (await client.get("/api/openapi.json")).json()["paths"]
    assert len(paths) > 15
    async with httpx.AsyncClient(base_url=stack.url) as stranger:
        for path, methods in paths.items():
            if path in OPEN:
                continue
            filled = path.replace("{", "").replace("}", "")
            for method in methods:
                answer = await stranger.request(method, filled)
                assert answer.status_code == 401, (method, path)
