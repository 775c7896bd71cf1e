"""`assistant password reset` as a real process."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.passwords import is_set_up, set_first_password, verify_password
from core.accounts.sessions import create_session, list_sessions
from core.home.embedded import start_server
from core.settings.groups import StoreSettings
from core.store.connection import connect
from core.store.redis import RedisClient
from tests.support.commands import FRONT, command, environment

OLD, NEW = "the old password", "пароль с пробелами"


@pytest.fixture
async def home_store(tmp_path: Path) -> AsyncGenerator[RedisClient]:
    """The store of a home whose server runs; somebody is signed in."""
    server = await start_server(tmp_path, StoreSettings())
    redis = connect(server.url)
    await set_first_password(redis, OLD)
    await create_session(redis, FIRST_ACCOUNT, days=1, agent="a browser", address="")
    yield redis
    await redis.aclose()
    await server.stop()


async def test_a_piped_password_is_set_and_browsers_are_signed_out(
    home_store: RedisClient, tmp_path: Path
) -> None:
    done = await command(tmp_path, "password", "reset", given=f"{NEW}\nanother line\n")
    assert done.code == 0, done.err
    assert NEW not in done.out + done.err
    assert await verify_password(home_store, NEW, account_id=FIRST_ACCOUNT)
    assert not await verify_password(home_store, OLD, account_id=FIRST_ACCOUNT)
    assert await list_sessions(home_store, FIRST_ACCOUNT) == []


async def test_a_short_password_changes_nothing(home_store: RedisClient, tmp_path: Path) -> None:
    for given in ("short\n", "", "\n"):
        done = await command(tmp_path, "password", "reset", given=given)
        assert (done.code, done.out) == (1, "")
        assert "at least 8 characters" in done.err
    assert await verify_password(home_store, OLD, account_id=FIRST_ACCOUNT)
    assert len(await list_sessions(home_store, FIRST_ACCOUNT)) == 1


async def test_it_works_while_nothing_runs(tmp_path: Path) -> None:
    assert (await command(tmp_path, "password", "reset", given=f"{NEW}\n")).code == 0
    server = await start_server(tmp_path, StoreSettings())
    redis = connect(server.url)
    assert await is_set_up(redis)
    assert await verify_password(redis, NEW, account_id=FIRST_ACCOUNT)
    await redis.aclose()
    await server.stop()


async def test_on_a_terminal_it_asks_twice_without_showing(
    home_store: RedisClient, tmp_path: Path
) -> None:
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(FRONT),
        "password",
        "reset",
        env=environment(tmp_path),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(slave)
    shown = b""
    for line in (
        b"short\n",
        NEW.encode() + b"\n",
        b"something else\n",
        *[NEW.encode() + b"\n"] * 2,
    ):
        shown += await _until_asked(master)
        os.write(master, line)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    os.close(master)
    assert b"too short" in shown
    assert b"not the same" in shown
    assert NEW.encode() not in shown
    assert await verify_password(home_store, NEW, account_id=FIRST_ACCOUNT)


def _take_terminal() -> None:
    """Make standard input the terminal that the password is asked on."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))


async def _until_asked(master: int) -> bytes:
    """What is shown up to the next question."""
    shown = b""
    while not shown.rstrip().endswith((b"password:", b"Again:")):
        shown += await asyncio.wait_for(asyncio.to_thread(os.read, master, 4096), 20)
    return shown
