"""A stack with some of everything in it: tool turns, a turn cut in the middle, messages that wait,
an ephemeral conversation, a profile, saved settings with a secret.

`python -m tests.support.rich_state FILE` writes a backup of that to FILE; tests/fixtures holds one
of each state format.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from core.backup.write import write_backup
from core.store.opening import open_untouched_store
from tests.support.backups import KEY
from tests.support.stack import Stack, events, running_stack

SECRET = "planted-4711-model-key"


@dataclass(frozen=True)
class Rich:
    """The conversations: one all answered, one cut in the middle of its first of three turns."""

    finished: str
    waiting: str
    sent: tuple[str, ...]


async def say(client: httpx.AsyncClient, thread_id: str, text: str, message_id: str) -> str:
    """Send a message; the value is its run."""
    body = {"text": text, "id": message_id}
    answer = await client.post(f"/api/threads/{thread_id}/messages", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


async def until_idle(client: httpx.AsyncClient, thread_id: str) -> None:
    """Wait until every message of the thread is answered."""
    async for _ in events(client, f"/api/threads/{thread_id}/events"):
        pass


async def make_rich_state(stack: Stack, worker: str = "worker1") -> Rich:
    """Fill the stack; the worker is killed in the end."""
    async with stack.client() as client:
        finished = str((await client.post("/api/threads", json={})).json()["id"])
        await say(client, finished, 'tool:set_profile {"key":"city","value":"Oslo"}', "m1")
        await say(client, finished, "tool:current_time {}", "m2")
        await say(client, finished, "hello", "m3")
        await until_idle(client, finished)
        await client.put("/api/profile", json={"name": "Ада"})
        saved = await client.put("/api/settings/model", json={"api_key": SECRET})
        assert saved.status_code == 200, saved.text
        body = {"model": "assistant", "messages": [{"role": "user", "content": "bench:3"}]}
        stateless = await client.post("/v1/chat/completions", json=body)
        assert stateless.status_code == 200, stateless.text
        waiting = str((await client.post("/api/threads", json={"title": "Cut"})).json()["id"])
        sent = ("w1", "w2", "w3")
        for message_id, text in zip(
            sent, ("bench:60:20", "tool:current_time {}", "bench:5"), strict=True
        ):
            await say(client, waiting, text, message_id)
        async for event in events(client, f"/api/threads/{waiting}/events", until_idle=False):
            if event.type == "text_delta":
                break
        await stack.stop(worker, signal.SIGKILL)
    return Rich(finished, waiting, sent)


async def _write(path: Path) -> None:
    async with running_stack() as stack:
        await make_rich_state(stack)
        async with open_untouched_store(stack.server.url) as store:
            await write_backup(store, path, key=KEY)


if __name__ == "__main__":
    asyncio.run(_write(Path(sys.argv[1])))
