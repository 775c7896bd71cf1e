"""A channel as a child of `assistant up`: it comes and goes with its settings, and is restarted."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import orjson
import pytest

from core.home.web_address import ADDRESS_FILE
from tests.chaos.model import faulty_model
from tests.chaos.test_supervisor import LIMIT, child, key_of, running_up
from tests.support import commands, front_with_channel
from tests.support.commands import command
from tests.support.echo_channel import heard, said
from tests.support.waiting import wait_until

PAUSE = 3.0
"""Seconds; longer than the supervisor waits before it starts a child again."""

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc"),
]


@pytest.fixture(autouse=True)
def front_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of an assistant with the channel `echo`."""
    monkeypatch.setattr(commands, "FRONT", Path(front_with_channel.__file__))


async def test_a_channel_comes_and_goes_with_its_settings(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with faulty_model(tmp_path / "model.jsonl") as model, running_up(home, model.url) as up:
        await wait_until((home / ADDRESS_FILE).exists, timeout=LIMIT)
        url = orjson.loads((home / ADDRESS_FILE).read_bytes())["url"]
        headers = {"Authorization": f"Bearer {await key_of(home)}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            await wait_until(lambda: not child(up, "echo"), timeout=LIMIT)  # it rests
            said(home).write_text("bench:3\n")
            await _set_token(client, "12345678:token")
            await wait_until(lambda: _heard(home) == 1, timeout=LIMIT)
            assert heard(home).read_text().startswith("completed: ")

            before = child(up, "echo")
            os.kill(before, signal.SIGKILL)
            await wait_until(lambda: child(up, "echo") not in (0, before), timeout=LIMIT)
            report = await command(home, "doctor", "--json")
            checks = {check["name"]: check for check in orjson.loads(report.out)["checks"]}
            assert checks["echo"]["status"] == "ok", report.out

            await _set_token(client, None)
            await wait_until(lambda: not child(up, "echo"), timeout=LIMIT)


async def test_a_channel_that_keeps_breaking_leaves_the_others_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    said(home).write_text("break\n")
    changes = {"TELEGRAM_BOT_TOKEN": "12345678:token"}
    async with (
        faulty_model(tmp_path / "model.jsonl") as model,
        running_up(home, model.url, **changes) as up,
    ):
        await wait_until((home / ADDRESS_FILE).exists, timeout=LIMIT)
        url = orjson.loads((home / ADDRESS_FILE).read_bytes())["url"]
        headers = {"Authorization": f"Bearer {await key_of(home)}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            seen = time.monotonic()

            def gave_up() -> bool:
                nonlocal seen
                if child(up, "echo"):
                    seen = time.monotonic()
                return time.monotonic() - seen > PAUSE

            await wait_until(gave_up, timeout=3 * LIMIT)
            assert (await client.get("/readyz")).status_code == 200
            said(home).write_text("bench:3\n")
            await _set_token(client, "12345678:other")
            await wait_until(lambda: _heard(home) == 1, timeout=LIMIT)


async def _set_token(client: httpx.AsyncClient, token: str | None) -> None:
    answer = await client.put("/api/settings/telegram", json={"bot_token": token})
    assert answer.status_code == 200, answer.text


def _heard(home: Path) -> int:
    return len(heard(home).read_text().splitlines()) if heard(home).exists() else 0
