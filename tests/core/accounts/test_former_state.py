"""State of format 1, where the administrator was no account: nobody has to sign in again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from core.accounts.accounts import FIRST_ACCOUNT, Account, Accounts
from core.accounts.credentials import digest
from core.accounts.directory import Directory
from core.accounts.passwords import is_set_up
from core.accounts.principal import CHAT, EVERYTHING
from core.accounts.revocations import Revocations
from core.accounts.sign_in import SignIn, Visitor
from core.backup.file import check
from core.backup.restore import restore
from core.errors import Unauthorized
from core.settings.groups import SecuritySettings
from core.store import keys
from core.store.client import Store
from core.store.migrations import MIGRATIONS, migrate, stored_format
from core.store.opening import open_store, open_untouched_store
from core.store.redis import RedisClient
from tests.support.backups import KEY

FIXTURES = Path(__file__).parents[2] / "fixtures"
FORMER = "asst:auth:owner"
MADE: dict[str, Any] = orjson.loads((FIXTURES / "state_v1_account.json").read_bytes())
"""What the person of the fixture holds: password, cookie, API keys; and the stored session, which
no backup has."""

THIRTY_DAYS = 30 * 86_400


@pytest.fixture
async def former(redis: RedisClient, redis_url: str) -> RedisClient:
    """What version 0.1.0 left in Redis."""
    async with open_untouched_store(redis_url, half_restored=True) as store:
        await restore(store, check(FIXTURES / "state_v1_account.backup", key=KEY))
    hashed = digest(MADE["token"])
    await redis.hset(keys.session(hashed), mapping=MADE["session"])
    await redis.expire(keys.session(hashed), THIRTY_DAYS)
    await redis.sadd(keys.sessions(FIRST_ACCOUNT), hashed)
    assert await stored_format(redis) == 1
    assert await redis.exists(FORMER, keys.account(FIRST_ACCOUNT)) == 1
    return redis


def ways_in(store: Store, home: Path) -> SignIn:
    """Sign-in on a store that was just opened."""
    directory = Directory(store, Revocations(store.redis))
    return SignIn(store, directory, SecuritySettings, home)


async def test_password_session_and_keys_go_on_working(
    former: RedisClient, redis_url: str, tmp_path: Path
) -> None:
    async with open_store(redis_url) as store:
        assert await stored_format(former) == 2
        assert await former.exists(FORMER) == 0
        sign_in = ways_in(store, tmp_path)
        session = await sign_in.directory.session(MADE["token"], 30)
        assert session is not None
        assert (session.principal.user_id, session.principal.scopes) == (FIRST_ACCOUNT, EVERYTHING)
        for scope, allowed in (("chat", CHAT), ("admin", EVERYTHING)):
            key = await sign_in.directory.key(MADE[f"{scope} key, not-a-secret"])
            assert key is not None
            assert key.principal.scopes == allowed
        with pytest.raises(Unauthorized):
            await sign_in.sign_in("wrong password", Visitor())
        assert await sign_in.sign_in(MADE["password"], Visitor())
        found = await Accounts(store).get(FIRST_ACCOUNT)
        assert found == Account(FIRST_ACCOUNT, "Ада", "admin", "ru", "Europe/Berlin")


async def test_the_step_may_be_repeated_wherever_it_died(former: RedisClient) -> None:
    stored = await former.hgetall(FORMER)
    await migrate(former, target=2)
    account = await former.hgetall(keys.account(FIRST_ACCOUNT))
    assert account == {**stored, b"role": b"admin"}
    await former.hset(keys.installation(), "format", "1")  # died before the format was written
    await migrate(former, target=2)
    await MIGRATIONS[0].run(former)
    assert await former.hgetall(keys.account(FIRST_ACCOUNT)) == account
    assert await former.exists(FORMER) == 0


async def test_state_that_was_never_set_up_has_no_account_afterwards(
    redis: RedisClient, redis_url: str
) -> None:
    await redis.hset(keys.installation(), "format", "1")
    async with open_store(redis_url):
        assert await stored_format(redis) == 2
        assert not await is_set_up(redis)
        assert await redis.exists(keys.account(FIRST_ACCOUNT)) == 0
