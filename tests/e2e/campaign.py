"""Messages, readers that come and go, workers killed in between, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import random
import signal
from dataclasses import dataclass, field

import httpx

from tests.support.stack import Received, Shown, Stack, events
from tests.support.waiting import wait_until

TEXTS = (
    "bench:40:4",
    "bench:60:15",
    "tool:current_time {}",
    "bench:12",
    'tool:set_profile {"key":"city","value":"Oslo"}',
)


@dataclass
class Conversation:
    """One thread, what was sent into it and what a reader saw of it."""

    thread_id: str
    runs: list[str] = field(default_factory=list[str])
    message_ids: list[str] = field(default_factory=list[str])
    shown: dict[str, Shown] = field(default_factory=dict[str, Shown])
    last_id: str = "0-0"
    reconnects: int = 0

    def take(self, event: Received) -> None:
        """Add an event; its id must be new."""
        assert _order(event.id) > _order(self.last_id), "an event came twice or out of order"
        self.last_id = event.id
        self.shown.setdefault(event.data["run_id"], Shown()).take(event)

    @property
    def ended(self) -> bool:
        """Whether every run has ended."""
        return all(run in self.shown and self.shown[run].status for run in self.runs)


def _order(entry_id: str) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split("-")))


async def converse(stack: Stack, messages: int, rng: random.Random) -> Conversation:
    """Send messages into a new thread, each twice as a client does that had no answer."""
    async with stack.client() as client:
        created = await client.post("/api/threads", json={})
        conversation = Conversation(created.json()["id"])
        for number in range(messages):
            body = {"text": rng.choice(TEXTS), "id": f"msg-{number}"}
            path = f"/api/threads/{conversation.thread_id}/messages"
            first = await client.post(path, json=body)
            again = await client.post(path, json=body)
            assert first.status_code == again.status_code == 202, (first.text, again.text)
            assert first.json() == again.json()
            conversation.runs.append(first.json()["run_id"])
            conversation.message_ids.append(body["id"])
    return conversation


async def read(stack: Stack, conversation: Conversation, rng: random.Random) -> None:
    """Follow the thread to its end, cutting the connection at random and resuming."""
    path = f"/api/threads/{conversation.thread_id}/events"
    async with stack.client(timeout=60) as client:
        while not conversation.ended:
            try:
                stream = events(client, path, last_id=conversation.last_id, until_idle=False)
                async for event in stream:
                    if not event.id:
                        continue
                    conversation.take(event)
                    if conversation.ended or rng.random() < 0.08:
                        conversation.reconnects += 1
                        break
                await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue] - it is a generator
            except httpx.TransportError:
                conversation.reconnects += 1


async def kill_workers(stack: Stack, kills: int, rng: random.Random) -> None:
    """Kill workers at random moments, and start each anew."""
    names = [name for name in stack.processes if name.startswith("worker")]
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.02, 0.8))
        name = rng.choice(names)
        await stack.stop(name, signal.SIGKILL)
        await stack.start_worker(name)


async def check(stack: Stack, conversation: Conversation) -> None:
    """One answer to each message, in order; the same for a restless reader as for one
    that comes afterwards."""
    async with stack.client() as client:
        path = f"/api/threads/{conversation.thread_id}"
        calm: dict[str, Shown] = {}
        ended: list[str] = []
        async for event in events(client, f"{path}/events"):
            if not event.id:
                continue
            calm.setdefault(event.data["run_id"], Shown()).take(event)
            if event.type == "turn_finished":
                ended.append(event.data["run_id"])
        detail = (await client.get(path, params={"limit": 500})).json()
    assert ended == conversation.runs, "lost, repeated or out of order"
    answers = {m["run_id"]: m for m in detail["messages"] if m["role"] == "assistant"}
    users = [m["id"] for m in detail["messages"] if m["role"] == "user"]
    assert users == conversation.message_ids
    assert detail["running_run_id"] is None
    for run in conversation.runs:
        shown = conversation.shown[run]
        assert shown.status == "completed", (run, shown)
        assert shown.text == shown.completed == calm[run].text == answers[run]["text"]


async def campaign(
    stack: Stack, *, seed: int, threads: int, messages: int, kills: int
) -> list[Conversation]:
    """Run it all; raises AssertionError where a promise was broken."""
    rng = random.Random(seed)
    conversations = list(
        await asyncio.gather(
            *(converse(stack, messages, random.Random(rng.random())) for _ in range(threads))
        )
    )
    readers = [
        asyncio.create_task(read(stack, c, random.Random(rng.random()))) for c in conversations
    ]
    try:
        await kill_workers(stack, kills, rng)
        await wait_until(lambda: all(c.ended for c in conversations), timeout=90)
        await asyncio.gather(*readers)
    finally:
        for reader in readers:
            reader.cancel()
    for conversation in conversations:
        await check(stack, conversation)
    return conversations
