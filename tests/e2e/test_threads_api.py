"""Conversations over HTTP: the contract of docs/api.md against real processes."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx
import pytest

from core.store import keys
from core.store.connection import connect
from tests.support.stack import Received, Shown, Stack, events, running_stack
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]


async def new_thread(client: httpx.AsyncClient, **body: Any) -> str:
    answer = await client.post("/api/threads", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def send(client: httpx.AsyncClient, thread: str, text: str, **more: Any) -> dict[str, str]:
    answer = await client.post(f"/api/threads/{thread}/messages", json={"text": text, **more})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def read(
    client: httpx.AsyncClient, thread: str, last_id: str | None = None
) -> list[Received]:
    return [
        event async for event in events(client, f"/api/threads/{thread}/events", last_id=last_id)
    ]


async def test_a_conversation_from_beginning_to_end(stack: Stack) -> None:
    async with stack.client() as client:
        thread = await new_thread(client)
        sent = await send(client, thread, "bench:20")
        shown = Shown()
        for event in await read(client, thread):
            assert event.data["run_id"] == sent["run_id"]
            assert event.data["thread_id"] == thread
            assert event.data["at"].endswith("Z")
            assert event.data["type"] == event.type
            shown.take(event)
        assert shown.completed == shown.text
        assert shown.status == "completed"
        detail = (await client.get(f"/api/threads/{thread}")).json()
        assert [m["role"] for m in detail["messages"]] == ["user", "assistant"]
        assert detail["messages"][1]["text"] == shown.text
        assert detail["messages"][1]["status"] == "completed"
        assert detail["title"] == "bench:20"
        assert (detail["running_run_id"], detail["pending_approvals"]) == (None, [])
        assert await read(client, thread, detail["events_since"]) == []


async def test_a_stream_cut_anywhere_goes_on_with_the_same_events(stack: Stack) -> None:
    async with stack.client() as client:
        thread = await new_thread(client)
        await send(client, thread, "tool:current_time {}")
        await send(client, thread, "bench:30")
        await wait_until(lambda: _idle(client, thread))
        whole = await read(client, thread)
        for cut in range(len(whole)):
            assert await read(client, thread, whole[cut].id) == whole[cut + 1 :]


async def _idle(client: httpx.AsyncClient, thread: str) -> bool:
    detail = (await client.get(f"/api/threads/{thread}")).json()
    done = [m for m in detail["messages"] if m["role"] == "assistant"]
    return detail["running_run_id"] is None and len(done) == 2


async def test_the_same_id_again_is_the_same_run(stack: Stack) -> None:
    async with stack.client() as client:
        thread = await new_thread(client)
        first = await send(client, thread, "bench:2", id="mine")
        assert await send(client, thread, "bench:2", id="mine") == first
        ended = [event for event in await read(client, thread) if event.type == "turn_finished"]
        assert len(ended) == 1


async def test_cancel_ends_the_run_and_keeps_what_was_said(stack: Stack) -> None:
    async with stack.client() as client:
        thread = await new_thread(client)
        run = (await send(client, thread, "bench:3000:20"))["run_id"]
        got: list[Received] = []
        async for event in events(client, f"/api/threads/{thread}/events"):
            if event.type == "text_delta" and not any(e.type == "text_delta" for e in got):
                answer = await client.post(f"/api/runs/{run}/cancel")
                assert answer.status_code == 202
            got.append(event)
        assert got[-1].data["status"] == "cancelled"
        record = (await client.get(f"/api/threads/{thread}")).json()["messages"][-1]
        assert record["status"] == "cancelled"
        said = "".join(event.data["text"] for event in got if event.type == "text_delta")
        assert record["text"] == said


async def test_try_again_waits_for_the_answer_under_way(stack: Stack) -> None:
    """A retry in the middle took the newer messages out of the model's memory."""
    async with stack.client() as client:
        thread = await new_thread(client)
        path = f"/api/threads/{thread}/retry"
        assert (await client.post(path)).status_code == 409
        await send(client, thread, "bench:3")
        await read(client, thread)
        run = (await send(client, thread, "bench:3000:20"))["run_id"]
        assert (await client.post(path)).status_code == 409
        await client.post(f"/api/runs/{run}/cancel")
        await read(client, thread)
        answer = await client.post(path)
        assert answer.status_code == 202
        await client.post(f"/api/runs/{answer.json()['run_id']}/cancel")
        await read(client, thread)
        messages = (await client.get(f"/api/threads/{thread}")).json()["messages"]
        assert [m["role"] for m in messages] == ["user", "assistant"] * 2


async def test_list_rename_delete(stack: Stack) -> None:
    async with stack.client() as client:
        made = [await new_thread(client, title=f"Number {n}") for n in range(7)]
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = (
                await client.get(
                    "/api/threads", params={"limit": 3, **({"cursor": cursor} if cursor else {})}
                )
            ).json()
            found += [item["id"] for item in page["items"]]
            if (cursor := page["next"]) is None:
                break
        assert len(found) == len(set(found))
        assert set(made) <= set(found)
        renamed = await client.patch(f"/api/threads/{made[0]}", json={"title": " New  name "})
        assert renamed.json()["title"] == "New name"
        assert (await client.delete(f"/api/threads/{made[0]}")).status_code == 204
        assert (await client.get(f"/api/threads/{made[0]}")).status_code == 404
        assert (await client.delete(f"/api/threads/{made[0]}")).status_code == 404


async def test_pages_of_a_conversation(stack: Stack) -> None:
    async with stack.client() as client:
        thread = await new_thread(client)
        for number in range(5):
            await send(client, thread, "bench:1", id=f"m{number}")
        await read(client, thread)
        pages: list[list[str]] = []
        before: int | None = None
        while True:
            params = {"limit": 4} | ({"before": before} if before is not None else {})
            detail = (await client.get(f"/api/threads/{thread}", params=params)).json()
            pages.insert(0, [m["id"] for m in detail["messages"] if m["role"] == "user"])
            if (before := detail["messages_before"]) is None:
                break
        assert [name for page in pages for name in page] == [f"m{n}" for n in range(5)]
        far = await client.get(f"/api/threads/{thread}", params={"before": 10**9, "limit": 2})
        assert len(far.json()["messages"]) == 2
        assert far.json()["messages_before"] == 8


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/threads?cursor=%C2%B2", 422),
        ("/api/threads?cursor=1", 422),
        ("/api/threads?limit=0", 422),
        ("/api/events?since=%D9%A3-%D9%A0", 422),
        ("/api/threads/t_none/events", 404),
        ("/api/threads/t_none?before=99999999999999999999999", 422),
        ("/api/threads/t_none", 404),
    ],
)
async def test_bad_parameters(stack: Stack, path: str, status: int) -> None:
    async with stack.client() as client:
        answer = await client.get(path)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")


async def test_all_threads_in_one_stream(stack: Stack) -> None:
    async with stack.client() as client:
        threads = [await new_thread(client) for _ in range(3)]
        got: list[Received] = []

        async def listen() -> None:
            # From the beginning: nobody says when a stream of new events only is open.
            async for event in events(client, "/api/events", last_id="0-0", until_idle=False):
                if event.data["thread_id"] not in threads:
                    continue
                got.append(event)
                if sum(e.type == "turn_finished" for e in got) == 3:
                    return

        listening = asyncio.create_task(listen())
        for thread in threads:
            await send(client, thread, "bench:3")
            await read(client, thread)
        await asyncio.wait_for(listening, 30)
        first = (await read(client, threads[0]))[0]
        late: list[Received] = [first]
        stream = events(client, "/api/events", last_id=first.id, until_idle=False)
        async for event in stream:
            late.append(event)
            if sum(e.type == "turn_finished" for e in late) == 3:
                break
        assert {event.data["thread_id"] for event in late} >= set(threads)


async def test_a_deleted_conversation_leaves_nothing_behind(stack: Stack) -> None:
    """Every deletion failed at its last step, and the checkpoints stayed for ever."""
    redis: Any = connect(stack.server.url)
    async with stack.client() as client:
        done, running = await new_thread(client), await new_thread(client)
        await send(client, done, "bench:3")
        await read(client, done)
        assert await redis.exists(keys.checkpoint(done, "n"))
        await send(client, running, "bench:3000:20")
        await wait_until(lambda: _begun(client, running))
        for thread in (done, running):
            assert (await client.delete(f"/api/threads/{thread}")).status_code == 204
        for thread in (done, running):
            await wait_until(lambda thread=thread: _only_expiring(redis, thread), timeout=10)
    await redis.aclose()


async def test_a_conversation_can_be_deleted_when_redis_is_full(stack: Stack) -> None:
    """It was gone, but the answer was an error, and its checkpoints stayed for ever."""
    redis: Any = connect(stack.server.url)
    async with stack.client() as client:
        thread = await new_thread(client)
        await send(client, thread, "bench:3")
        await read(client, thread)
        await redis.config_set("maxmemory", "1mb")
        try:
            assert (await client.delete(f"/api/threads/{thread}")).status_code == 204
            assert (await client.get(f"/api/threads/{thread}")).status_code == 404
        finally:
            await redis.config_set("maxmemory", "0")
        # By the job, or by the worker that looks for what none has erased.
        await wait_until(lambda: _only_expiring(redis, thread), timeout=80)
    await redis.aclose()


async def test_readers_of_a_deleted_conversation_are_told_and_their_stream_ends(
    stack: Stack,
) -> None:
    async with stack.client() as client:
        thread = await new_thread(client)
        sent = await send(client, thread, "bench:3000:20")
        path, everything = f"/api/threads/{thread}/events", list[Received]()

        async def listen() -> None:
            async for event in events(client, "/api/events", until_idle=False):
                everything.append(event)
                if event.type == "thread_deleted":
                    return

        async def follow() -> list[Received]:
            return [event async for event in events(client, path, until_idle=False)]

        listening, following = asyncio.create_task(listen()), asyncio.create_task(follow())
        completing = asyncio.create_task(_complete(client, thread))
        await wait_until(lambda: _begun(client, thread))
        await wait_until(lambda: len(everything) > 0)
        assert (await client.delete(f"/api/threads/{thread}")).status_code == 204
        got = await asyncio.wait_for(following, 10)
        await asyncio.wait_for(listening, 10)
        refused = await asyncio.wait_for(completing, 10)
        assert (refused.status_code, refused.json()["error"]["code"]) == (410, "thread_deleted")
        last = got[-1]
        assert {event.data["run_id"] for event in got[:-1]} <= {sent["run_id"]}
        assert (last.type, last.data["thread_id"]) == ("thread_deleted", thread)
        assert last.data["at"].endswith("Z")
        assert (await client.get(path)).status_code == 404
        assert everything[-1].data == last.data


async def _complete(client: httpx.AsyncClient, thread: str) -> httpx.Response:
    """The OpenAI face, waiting in line in the same conversation."""
    body = {"model": "assistant", "messages": [{"role": "user", "content": "bench:3"}]}
    headers = {"X-Thread-Id": thread}
    return await client.post("/v1/chat/completions", json=body, headers=headers)


async def _begun(client: httpx.AsyncClient, thread: str) -> bool:
    return (await client.get(f"/api/threads/{thread}")).json()["running_run_id"] is not None


async def _only_expiring(redis: Any, thread: str) -> bool:
    left = [name for name in await redis.keys(f"*{thread}*") if b"-jobs" not in name]
    return all([await redis.ttl(name) != -1 for name in left])


async def test_a_reader_hears_a_farewell_and_resumes(stack: Stack) -> None:
    async with running_stack() as own, own.client() as client:
        thread = await new_thread(client)
        await send(client, thread, "bench:4000:5")
        got: list[Received] = []
        stopping: asyncio.Task[int] | None = None
        async for event in events(client, f"/api/threads/{thread}/events", until_idle=False):
            got.append(event)
            if event.type == "text_delta" and stopping is None:
                stopping = asyncio.create_task(own.stop("web"))
        assert got[-1].type == "server_shutdown"
        assert stopping is not None
        assert await stopping == 0
        await own.start_web()
        async with own.client() as again:
            last = next(event.id for event in reversed(got) if event.id)
            run = got[0].data["run_id"]
            async for event in events(again, f"/api/threads/{thread}/events", last_id=last):
                if event.type == "text_delta":
                    await again.post(f"/api/runs/{run}/cancel")
                got.append(event)
        ids = [tuple(map(int, event.id.split("-"))) for event in got if event.id]
        assert ids == sorted(set(ids))
        assert got[-1].data["status"] == "cancelled"
    assert stack.processes


async def test_readyz_knows_of_missing_workers() -> None:
    async with running_stack() as own, own.client() as client:
        assert (await client.get("/readyz")).json()["parts"]["worker"] == "ok"
        assert await own.stop("worker1", signal.SIGTERM) == 0
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["parts"]["worker"] == "none is running"
