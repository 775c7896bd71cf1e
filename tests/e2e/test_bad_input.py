"""Bad input gets a clear error that says what to do, and nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.stack import Shown, Stack, events

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]


async def thread_of(client: httpx.AsyncClient) -> str:
    return str((await client.post("/api/threads", json={})).json()["id"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"text": ""}, 422, "empty_message"),
        ({"text": " \n\t"}, 422, "empty_message"),
        ({"text": "x" * 1_000_000}, 413, "too_large"),
        ({"text": 5}, 422, "invalid"),
        ({"text": None}, 422, "invalid"),
        ({"text": "hi", "colour": "red"}, 422, "invalid"),
        ({"text": "hi", "id": "x" * 200}, 422, "invalid"),
        ({"text": "hi", "attachments": ["u_1"]}, 422, "invalid"),
        ({"text": "hi", "autonomous": "yes"}, 422, "invalid"),
        ({}, 422, "invalid"),
    ],
)
async def test_messages(stack: Stack, body: dict[str, Any], status: int, code: str) -> None:
    async with stack.client() as client:
        answer = await client.post(f"/api/threads/{await thread_of(client)}/messages", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"text": "\xff\xfe"}', 400),
        (b'{"text": "\\ud800"}', 400),
        (b"[" * 10_000, 400),
        (b'["text"]', 422),
        (b'{"text": "a\\u0000b"}', 202),
    ],
)
async def test_bodies(stack: Stack, content: bytes, status: int) -> None:
    async with stack.client() as client:
        path = f"/api/threads/{await thread_of(client)}/messages"
        headers = {"Content-Type": "application/json"}
        assert (await client.post(path, content=content, headers=headers)).status_code == status


async def test_unknown_things(stack: Stack) -> None:
    async with stack.client() as client:
        for method, path in (
            ("GET", "/api/threads/t_nothere"),
            ("GET", "/api/threads/t_nothere/events"),
            ("DELETE", "/api/threads/t_nothere"),
            ("POST", "/api/runs/t_nothere.abc/cancel"),
            ("POST", "/api/runs/nonsense/cancel"),
            ("GET", "/api/settings/colours"),
            ("GET", "/api/nothing"),
        ):
            answer = await client.request(method, path)
            assert answer.status_code == 404, (path, answer.text)
            assert answer.json()["detail"]
        message = {"text": "hi"}
        answer = await client.post("/api/threads/t_nothere/messages", json=message)
        assert answer.status_code == 404
        assert (await client.get("/api/threads?cursor=x")).status_code == 422
        thread = await thread_of(client)
        answer = await client.get(f"/api/threads/{thread}/events?since=yesterday")
        assert answer.status_code == 422


async def test_huge_headers(stack: Stack) -> None:
    async with stack.client() as client:
        answer = await client.get("/api/me", headers={"X-Padding": "x" * 40_000})
        assert answer.status_code in (400, 431)
        answer = await client.get("/api/threads?cursor=" + "x" * 20_000)
        assert answer.status_code in (400, 414)


async def test_an_unusable_model_address(stack: Stack) -> None:
    async with stack.client() as client:
        answer = await client.put("/api/settings/model", json={"base_url": "not a url"})
        assert answer.status_code == 422
        assert "http://" in answer.json()["detail"]
        answer = await client.put("/api/settings/model", json={"base_ulr": "http://127.0.0.1:1"})
        assert answer.status_code == 422
        assert "base_url" in answer.json()["detail"]


async def test_a_failed_turn_keeps_what_came_and_can_be_tried_again(stack: Stack) -> None:
    async with stack.client() as client:
        thread = await thread_of(client)
        path = f"/api/threads/{thread}"
        await client.post(f"{path}/messages", json={"text": "error please"})
        shown = Shown()
        async for event in events(client, f"{path}/events"):
            shown.take(event)
        assert shown.status == "failed"
        assert "turn_failed" in shown.types
        failed = (await client.get(path)).json()["messages"]
        assert failed[-1]["status"] == "failed"
        assert failed[-1]["error"]["detail"]
        assert (await client.post(f"{path}/retry")).status_code == 202
        async for event in events(client, f"{path}/events", last_id="0-0"):
            shown.take(event)
        assert shown.status == "completed"
        messages = (await client.get(path)).json()["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant"]
    assert messages[-1]["status"] == "completed"


async def test_a_full_inbox(stack: Stack) -> None:
    async with stack.client() as client:
        path = f"/api/threads/{await thread_of(client)}/messages"
        first = (await client.post(path, json={"text": "bench:5000:20"})).json()
        answers = await asyncio.gather(
            *(client.post(path, json={"text": "bench:1"}) for _ in range(30))
        )
        codes = {answer.status_code for answer in answers}
        assert codes == {202, 429}
        full = next(answer for answer in answers if answer.status_code == 429)
        assert int(full.headers["retry-after"]) > 0
        assert full.json()["code"] == "inbox_full"
        assert (await client.post(f"/api/runs/{first['run_id']}/cancel")).status_code == 202
        status = ""
        async for event in events(client, path.replace("messages", "events")):
            if event.type == "turn_finished" and event.data["run_id"] == first["run_id"]:
                status = event.data["status"]
    assert status == "cancelled"
