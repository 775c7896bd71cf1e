"""Somebody who talks to a running assistant over its public interface, as a story tells it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.stack import Received, Shown, Stack, events


@dataclass(eq=False)
class Conversation:
    """One conversation of a friend."""

    client: httpx.AsyncClient
    id: str

    async def send(self, text: str, **more: Any) -> dict[str, str]:
        """Send a message; the answer has its id and its run."""
        answer = await self.client.post(
            f"/api/threads/{self.id}/messages", json={"text": text, **more}
        )
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def ask(self, text: str) -> str:
        """Send a message and wait for the whole answer."""
        run = (await self.send(text))["run_id"]
        return (await self.watch(run)).text

    async def watch(self, run_id: str) -> Shown:
        """What a page shows of a run, once it has ended."""
        shown = Shown()
        for event in await self.events():
            if event.data["run_id"] == run_id:
                shown.take(event)
        return shown

    async def events(self, after: str | None = None) -> list[Received]:
        """All events until nothing runs or waits."""
        path = f"/api/threads/{self.id}/events"
        return [event async for event in events(self.client, path, last_id=after)]

    async def messages(self) -> list[dict[str, Any]]:
        """What the page shows after a reload."""
        return (await self.client.get(f"/api/threads/{self.id}")).json()["messages"]

    async def first_words(self) -> Received:
        """Wait until the answer begins to come."""
        async for event in events(self.client, f"/api/threads/{self.id}/events"):
            if event.type == "text_delta":
                return event
        raise AssertionError("there was no answer")


@dataclass(eq=False)
class Friend:
    """Somebody with an API key."""

    client: httpx.AsyncClient

    async def begin(self) -> Conversation:
        """A new conversation."""
        made = await self.client.post("/api/threads", json={})
        return Conversation(self.client, str(made.json()["id"]))


@asynccontextmanager
async def friend_of(stack: Stack) -> AsyncGenerator[Friend]:
    """A friend who is signed in."""
    async with stack.client() as client:
        yield Friend(client)
