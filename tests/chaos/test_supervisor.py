"""`assistant up` keeps its processes running: each is killed, and the next message is answered."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest

from core.accounts.api_keys import create_key
from core.accounts.passwords import set_first_password
from core.home.embedded import running_server, socket_url
from core.home.web_address import ADDRESS_FILE
from core.store.connection import connect
from tests.chaos.measure import new_thread, say, until
from tests.chaos.model import faulty_model
from tests.support.commands import start
from tests.support.stack import PASSWORD, USER
from tests.support.waiting import wait_until

LIMIT = 30.0
"""Seconds: most of them go into starting Python, on a machine that does other work as well."""


def child(parent: int, word: str) -> int:
    """Pid of the parent's child whose command line ends with a word, 0 if there is none."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    for pid in listed.split():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if line[-1] == word.encode():
            return int(pid)
    return 0


@asynccontextmanager
async def running_up(home: Path, model_url: str, **changes: str) -> AsyncGenerator[int]:
    """`assistant up`; the value is its pid."""
    changes = {"OPENAI_BASE_URL": model_url, "MODEL_NAME": "m", "ASSISTANT_PORT": "0"} | changes
    process = await start(home, "up", **changes)
    try:
        yield process.pid
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), LIMIT)


async def key_of(home: Path) -> str:
    """An API key for the running assistant."""
    redis = connect(socket_url(home))
    await set_first_password(redis, PASSWORD)
    _, secret = await create_key(redis, USER, "tests", "admin")
    await redis.aclose()
    return secret


async def answered(home: Path, key: str) -> None:
    """A message gets its answer, however often it has to be sent."""
    end = time.monotonic() + LIMIT
    while True:
        try:
            url = orjson.loads((home / ADDRESS_FILE).read_bytes())["url"]
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client:
                thread = await new_thread(client)
                assert (await say(client, thread, "bench:3", "m1")).status == 202
                async with asyncio.timeout(LIMIT):
                    await until(client, thread, "turn_finished", status="completed")
                return
        except (OSError, httpx.TransportError, AssertionError):
            assert time.monotonic() < end, "no answer"
            await asyncio.sleep(0.1)


async def server_pid(home: Path) -> int:
    """Of the embedded server, 0 while there is none."""
    server = await running_server(home)
    return server.pid if server is not None else 0


@pytest.mark.timeout(180)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
async def test_what_is_killed_is_started_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with faulty_model(tmp_path / "model.jsonl") as model, running_up(home, model.url) as up:
        await wait_until((home / ADDRESS_FILE).exists, timeout=LIMIT)
        key = await key_of(home)
        await answered(home, key)
        for word in ("worker", "api"):
            before = child(up, word)
            assert before
            os.kill(before, signal.SIGKILL)
            await wait_until(_other(up, word, before), timeout=LIMIT)
            await answered(home, key)
        before = await server_pid(home)
        os.kill(before, signal.SIGKILL)
        began = time.monotonic()
        await wait_until(lambda: server_pid(home), timeout=LIMIT)
        print(f"the embedded server was back after {time.monotonic() - began:.2f} s")  # noqa: T201 - a figure for the documentation
        await answered(home, key)
    assert await server_pid(home) == 0


def _other(up: int, word: str, before: int) -> Callable[[], bool]:
    return lambda: child(up, word) not in (0, before)


async def test_the_supervisor_waits_for_a_redis_that_is_away_for_long(tmp_path: Path) -> None:
    home = tmp_path / "home"
    url = f"unix://{tmp_path}/nobody.sock"
    async with running_up(home, "http://127.0.0.1:9/v1", REDIS_URL=url) as up:
        seen: set[int] = set()

        def tried_often() -> bool:
            seen.update({child(up, "worker")} - {0})
            return len(seen) > 2

        await wait_until(tried_often, timeout=50)
        assert Path(f"/proc/{up}").exists()
