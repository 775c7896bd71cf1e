"""Set-up, passwords and sessions without HTTP."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.accounts.accounts import FIRST_ACCOUNT, ROLE
from core.accounts.credentials import digest
from core.accounts.passwords import is_set_up, reset_password
from core.accounts.sessions import list_sessions
from core.accounts.setup_token import TOKEN_FILE, ensure_setup_token
from core.accounts.sign_in import SignIn, Visitor
from core.errors import Conflict, Forbidden, Gone, Invalid, NotFound, RateLimited, Unauthorized
from core.store import keys
from core.store.redis import RedisClient

ROOT = Path(__file__).parents[3]
PASSWORD = "correct horse battery"
HERE = Visitor(address="192.0.2.1", agent="a terminal")

LOAD = """
import importlib, pkgutil, sys
import core.accounts
for module in pkgutil.iter_modules(core.accounts.__path__, "core.accounts."):
    importlib.import_module(module.name)
print(*sorted({"fastapi", "starlette", "langchain_core"} & sys.modules.keys()))
"""


async def set_up(sign_in: SignIn) -> str:
    """Make the administrator; the token of the first session."""
    token = await ensure_setup_token(sign_in.store.redis, sign_in.home)
    assert token is not None
    return await sign_in.set_up(token, PASSWORD, HERE)


def test_accounts_work_without_a_web_framework() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode().split() == []


async def test_set_up_makes_one_administrator(sign_in: SignIn, redis: RedisClient) -> None:
    with pytest.raises(Conflict) as early:
        await sign_in.sign_in(PASSWORD, HERE)
    assert early.value.code == "not_set_up"
    with pytest.raises(Forbidden):
        await sign_in.set_up("wrong", PASSWORD, HERE)
    link = await ensure_setup_token(redis, sign_in.home)
    assert link is not None
    with pytest.raises(Invalid):
        await sign_in.set_up(link, "short", HERE)
    token = await sign_in.set_up(link, PASSWORD, HERE)
    found = await sign_in.directory.session(token, 30)
    assert found is not None
    assert (found.principal.user_id, found.principal.scopes) == (FIRST_ACCOUNT, {"chat", "admin"})
    assert await redis.hget(keys.account(FIRST_ACCOUNT), ROLE) == b"admin"
    with pytest.raises(Gone):
        await sign_in.set_up(link, PASSWORD, HERE)


async def test_a_session_takes_the_place_of_the_one_before(
    sign_in: SignIn, redis: RedisClient
) -> None:
    first = await set_up(sign_in)
    again = Visitor(address="192.0.2.1", agent="a terminal", session=first)
    second = await sign_in.sign_in(PASSWORD, again)
    assert [s["digest"] for s in await list_sessions(redis, FIRST_ACCOUNT)] == [digest(second)]
    found = await sign_in.directory.session(second, 30)
    assert found is not None
    at = await sign_in.confirm(found.principal, PASSWORD, "")
    confirmed = await sign_in.directory.session(second, 30)
    assert confirmed is not None
    assert confirmed.principal.reauth_at == at
    await sign_in.sign_out(confirmed.principal)
    assert await sign_in.directory.session(second, 30) is None


async def test_wrong_passwords_count_by_address(sign_in: SignIn) -> None:
    await set_up(sign_in)
    for _ in range(5):
        with pytest.raises(Unauthorized):
            await sign_in.sign_in("wrong password", HERE)
    with pytest.raises(RateLimited):
        await sign_in.sign_in(PASSWORD, HERE)
    assert await sign_in.sign_in(PASSWORD, Visitor(address="192.0.2.2"))


async def test_a_sign_in_that_began_before_a_reset_does_not_outlive_it(
    sign_in: SignIn, redis: RedisClient
) -> None:
    """Whichever comes first: in the end the old password has opened nothing."""
    await set_up(sign_in)
    reset = reset_password(redis, "a new password", account_id=FIRST_ACCOUNT)
    tries = (sign_in.sign_in(PASSWORD, Visitor(address=f"192.0.2.{n}")) for n in range(4))
    tokens, *_ = await asyncio.gather(asyncio.gather(*tries, return_exceptions=True), reset)
    for token in tokens:
        assert not isinstance(token, str) or await sign_in.directory.session(token, 30) is None
    assert await list_sessions(redis, FIRST_ACCOUNT) == []


async def test_a_reset_knows_whose_password(redis: RedisClient) -> None:
    with pytest.raises(Invalid):
        await reset_password(redis, "short", account_id=FIRST_ACCOUNT)
    with pytest.raises(NotFound, match="no account 'nobody'"):
        await reset_password(redis, PASSWORD, account_id="nobody")
    assert await redis.keys("asst:u:*") == []
    await reset_password(redis, PASSWORD, account_id=FIRST_ACCOUNT)
    assert await is_set_up(redis)
    assert await redis.hget(keys.account(FIRST_ACCOUNT), ROLE) == b"admin"


async def test_a_restart_prints_the_same_link_and_a_day_later_another(
    redis: RedisClient, tmp_path: Path
) -> None:
    token = await ensure_setup_token(redis, tmp_path)
    path = tmp_path / TOKEN_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert await ensure_setup_token(redis, tmp_path) == token
    assert 86_000 < await redis.ttl(keys.setup_token()) <= 86_400
    await redis.flushall()
    assert await ensure_setup_token(redis, tmp_path) == token
    with path.open("r+") as file:
        yesterday = time.time() - 86_401
        os.utime(file.fileno(), (yesterday, yesterday))
    assert await ensure_setup_token(redis, tmp_path) != token
