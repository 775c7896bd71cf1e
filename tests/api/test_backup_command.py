"""`assistant backup` and `assistant restore` as real processes, against a running assistant."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.backup.restore import EMPTY_FIELD
from core.home.embedded import home_lock, running_server, start_server
from core.settings.groups import StoreSettings
from core.store import keys
from core.store.opening import RESTORING_FIELD, open_store
from tests.support.commands import Done, command, environment
from tests.support.rich_state import SECRET, Rich, make_rich_state, say, until_idle
from tests.support.stack import ROOT, Stack, running_stack
from tests.support.waiting import wait_until

FIXTURE = ROOT / "tests" / "fixtures" / "state_v1.backup"
SMALL = "64k"


@asynccontextmanager
async def started_on(home: Path, original: Stack) -> AsyncGenerator[Stack]:
    """A stack on a home that is there already, with the other one's model and key."""
    server = await start_server(home, StoreSettings())
    stack = Stack(home, server, original.model_url, original.model_log, original.key)
    try:
        await asyncio.gather(stack.start_web(), stack.start_worker())
        yield stack
    finally:
        for name in list(stack.processes):
            await stack.stop(name, signal.SIGKILL)
        if (current := await running_server(home)) is not None:
            await current.stop()


def copy_key(home: Path, copy: Path) -> None:
    """What the owner does before he restores elsewhere."""
    copy.mkdir(exist_ok=True)
    shutil.copy(home / "secret.key", copy / "secret.key")


async def backup(home: Path, file: Path) -> dict[str, Any]:
    """Run the command; the summary."""
    done = await command(home, "backup", str(file), "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


async def answered(client: httpx.AsyncClient, thread_id: str) -> list[tuple[str, str]]:
    """(message, status of its one answer) of a conversation."""
    detail = (await client.get(f"/api/threads/{thread_id}", params={"limit": 500})).json()
    roles = [message["role"] for message in detail["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2), detail["messages"]
    users, answers = detail["messages"][::2], detail["messages"][1::2]
    assert [answer["answer_to"] for answer in answers] == [user["id"] for user in users]
    return [(user["id"], answer["status"]) for user, answer in zip(users, answers, strict=True)]


async def test_a_moved_assistant_goes_on_where_it_was(tmp_path: Path) -> None:
    """Tool turns, a turn cut in the middle, waiting messages, an ephemeral thread, a secret."""
    copy = tmp_path / "copy"
    async with running_stack() as stack:
        rich = await make_rich_state(stack)
        summary = await backup(stack.home, tmp_path / "b")
        assert (summary["threads"], summary["waiting"]) == (3, 1)
        assert SECRET.encode() not in (tmp_path / "b").read_bytes()
        refused = await command(copy, "restore", str(tmp_path / "b"))
        assert (refused.code, copy.exists()) == (1, False)
        assert "was not signed with secret.key of this data folder" in refused.err
        done = await command(copy, "restore", str(tmp_path / "b"), "--unsigned")
        assert done.code == 0, done.err
        assert "This backup is not signed" in done.out
        assert "cannot be read here: model.api_key" in done.out
        assert "1 conversations have messages that were not answered yet" in done.out
        again = await backup(copy, tmp_path / "c")
        assert again["content"] == summary["content"]
        shutil.copy(stack.home / "secret.key", copy / "secret.key")
        async with started_on(copy, stack) as moved, moved.client() as client:
            await check_moved(client, rich)


async def check_moved(client: httpx.AsyncClient, rich: Rich) -> None:
    """All that was accepted is answered once, and the chat goes on."""
    await until_idle(client, rich.waiting)
    assert await answered(client, rich.waiting) == [(m, "completed") for m in rich.sent]
    assert await answered(client, rich.finished) == [(f"m{n}", "completed") for n in (1, 2, 3)]
    profile = (await client.get("/api/profile")).json()
    assert json.dumps(profile, ensure_ascii=False).count("Ада") == 1
    settings = (await client.get("/api/settings/model")).json()
    assert settings["values"]["api_key"] == {"set": True, "last4": SECRET[-4:]}
    again = await client.post(
        f"/api/threads/{rich.finished}/messages", json={"text": "again", "id": "m3"}
    )
    assert again.status_code == 202
    await say(client, rich.finished, "bench:4", "m4")
    await until_idle(client, rich.finished)
    assert [m for m, _ in await answered(client, rich.finished)] == ["m1", "m2", "m3", "m4"]


async def test_a_backup_in_the_middle_of_traffic_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    copy, accepted = tmp_path / "copy", dict[str, list[str]]()
    async with running_stack(workers=2) as stack, stack.client() as client:
        threads = [(await client.post("/api/threads", json={})).json()["id"] for _ in range(6)]

        stop = asyncio.Event()
        texts = ("bench:20:10", "tool:current_time {}", "bench:30:5")

        async def talk(thread_id: str) -> None:
            sent = accepted.setdefault(thread_id, [])
            while not stop.is_set():
                for text in texts:
                    await say(client, thread_id, text, f"m{len(sent)}")
                    sent.append(f"m{len(sent)}")
                await until_idle(client, thread_id)

        traffic = asyncio.gather(*(talk(thread_id) for thread_id in threads))
        await wait_until(lambda: sum(map(len, accepted.values())) > 20)
        before = {thread_id: list(ids) for thread_id, ids in accepted.items()}
        summary = await backup(stack.home, tmp_path / "b")
        stop.set()
        await traffic
        assert summary["waiting"] > 0, "the backup came too late to prove anything"
        copy_key(stack.home, copy)
        assert (await command(copy, "restore", str(tmp_path / "b"))).code == 0
        async with started_on(copy, stack) as moved, moved.client() as there:
            for thread_id in threads:
                await until_idle(there, thread_id)
                found = await answered(there, thread_id)
                assert [m for m, _ in found] == accepted[thread_id][: len(found)]
                assert len(found) >= len(before[thread_id])
                assert {status for _, status in found} == {"completed"}


async def test_this_version_goes_on_with_the_foundations_state(tmp_path: Path) -> None:
    async with running_stack(workers=0) as stack:
        copy = tmp_path / "copy"
        done = await command(copy, "restore", str(FIXTURE), "--json")
        assert done.code == 0, done.err
        told = json.loads(done.out)
        assert (told["secrets_to_enter"], told["signed"]) == (["model.api_key"], False)
        made = await command(copy, "key", "create", "--name", "test", "--scope", "admin")
        stack.key = made.out.strip()
        async with started_on(copy, stack) as moved, moved.client() as client:
            items = (await client.get("/api/threads")).json()["items"]
            cut = next(item["id"] for item in items if item["title"] == "Cut")
            await until_idle(client, cut)
            assert await answered(client, cut) == [(m, "completed") for m in ("w1", "w2", "w3")]


# ---- what may go wrong


async def home_with_data(home: Path) -> Path:
    """A home that somebody used."""
    assert (await command(home, "key", "create", "--name", "x")).code == 0
    return home


async def test_refusals_are_clear(tmp_path: Path) -> None:
    home, file = await home_with_data(tmp_path / "home"), tmp_path / "b"
    await backup(home, file)
    used = await command(home, "restore", str(file))
    assert (used.code, used.out) == (1, "")
    assert "never overwrites" in used.err
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-1])
    fresh = tmp_path / "fresh"
    for bad, why in (("cut", "damaged or cut short"), ("none", "No such file")):
        done = await command(fresh, "restore", str(tmp_path / bad))
        assert done.code == 1
        assert why in done.err
        assert "Traceback" not in done.err
    assert not fresh.exists(), "a bad file must leave no trace"
    nothing = await command(fresh, "backup", str(tmp_path / "n"))
    assert (nothing.code, "nothing to back up" in nothing.err) == (2, True)
    assert (await command(home, "backup")).code == 2
    async with home_lock(home):
        busy = await command(home, "restore", str(file))
    assert (busy.code, "already runs" in busy.err) == (2, True)


async def test_an_interrupted_restore_can_be_repeated(tmp_path: Path) -> None:
    home, copy = await home_with_data(tmp_path / "home"), tmp_path / "copy"
    await backup(home, tmp_path / "b")
    server = await start_server(copy, StoreSettings())
    async with open_store(server.url) as store:
        # As a restore leaves it that was killed.
        marks = {RESTORING_FIELD: "2031-01-03T00:00:00+00:00", EMPTY_FIELD: "1"}
        await store.redis.hset(keys.installation(), mapping=marks)
    await server.stop()
    refused = await command(copy, "key", "list")
    assert (refused.code, "run `assistant restore FILE` again" in refused.err) == (2, True)
    copy_key(home, copy)
    done = await command(copy, "restore", str(tmp_path / "b"))
    assert (done.code, "is not signed" in done.out) == (0, False), done.err
    assert "x" in (await command(copy, "key", "list")).out


async def on_small_disk(home: Path, folder: Path, *arguments: str) -> Done:
    """Run a command that sees a disk of a few KiB at ``folder``."""
    script = f'mount -t tmpfs -o size={SMALL} tmpfs "{folder}" && exec "$@"'
    process = await asyncio.create_subprocess_exec(
        "unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh",
        sys.executable, str(ROOT / "assistant.py"), *arguments,
        env=environment(home),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return Done(process.returncode or 0, out.decode(), err.decode())


async def can_mount(folder: Path) -> bool:
    """Whether this machine lets us make a small disk."""
    process = await asyncio.create_subprocess_exec(
        "unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs", str(folder),
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait() == 0


async def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    if shutil.which("unshare") is None or not await can_mount(folder):
        pytest.skip("this machine does not let tests mount a small disk")
    home = tmp_path / "home"
    server = await start_server(home, StoreSettings())
    async with open_store(server.url) as store:
        await store.redis.set(keys.capabilities("x"), os.urandom(200_000))
    done = await on_small_disk(home, folder, "backup", str(folder / "b"))
    await server.stop()
    assert (done.code, done.out) == (1, "")
    assert "cannot be written (No space left on device); nothing was left behind" in done.err
    assert "Traceback" not in done.err
