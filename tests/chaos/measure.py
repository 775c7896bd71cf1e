"""One message at a time, and when what happened to it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import httpx

from tests.chaos.world import World
from tests.support.stack import Received, events

RECOVERY = 5.0
"""Seconds in which everything works again after an outage."""

ANSWER = 3.0
BUSY = 1.0
"""Seconds added for a machine that does other work as well."""


@dataclass(frozen=True)
class Tried:
    """One POST."""

    status: int
    seconds: float
    body: dict[str, str]
    kind: str


async def new_thread(client: httpx.AsyncClient) -> str:
    """Its id."""
    response = await client.post("/api/threads", json={})
    assert response.status_code == 201, response.text
    return response.json()["id"]


async def say(client: httpx.AsyncClient, thread: str, text: str, name: str) -> Tried:
    """Send a message once."""
    began = time.monotonic()
    response = await client.post(f"/api/threads/{thread}/messages", json={"text": text, "id": name})
    seconds = time.monotonic() - began
    kind = response.headers.get("content-type", "")
    return Tried(response.status_code, seconds, response.json(), kind)


async def until(client: httpx.AsyncClient, thread: str, kind: str, **data: object) -> Received:
    """The first event of a kind in the thread that carries these values."""
    last = "0-0"
    path = f"/api/threads/{thread}/events"
    while True:
        try:
            async for event in events(client, path, last_id=last, until_idle=False):
                last = event.id or last
                if event.type == kind and data.items() <= event.data.items():
                    return event
        except (httpx.TransportError, httpx.HTTPStatusError):
            await asyncio.sleep(0.05)


async def recovered(world: World, name: str) -> float:
    """Seconds until a new message in a new thread has its answer."""
    began = time.monotonic()
    while True:
        try:
            async with world.client(timeout=10) as client:
                thread = await new_thread(client)
                tried = await say(client, thread, "bench:3", name)
                assert tried.status == 202, tried
                await until(client, thread, "turn_finished")
                return time.monotonic() - began
        except (AssertionError, httpx.TransportError):
            assert time.monotonic() - began < 30, "it does not recover"


def written_at(event: Received) -> float:
    """Redis's clock when the event was written, which is this machine's."""
    return int(event.id.partition("-")[0]) / 1000
