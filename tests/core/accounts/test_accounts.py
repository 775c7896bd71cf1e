"""What an account may do decides what its sessions and API keys may do."""

from __future__ import annotations

import pytest

from core.accounts.accounts import FIRST_ACCOUNT, ROLE, Account, Accounts
from core.accounts.api_keys import create_key, find_key, list_keys, revoke_key
from core.accounts.credentials import digest
from core.accounts.directory import Directory
from core.accounts.principal import CHAT, EVERYTHING, Scope
from core.accounts.profile import Profiles
from core.accounts.sessions import create_session, find_session
from core.store import keys
from core.store.client import Store
from core.store.redis import RedisClient
from tests.support.waiting import wait_until

MEMBER = "anna"


@pytest.fixture
async def member(redis: RedisClient) -> str:
    """A second account, as a later version will make them."""
    await redis.hset(keys.account(MEMBER), ROLE, "member")
    return MEMBER


async def test_an_account_is_what_is_stored_and_what_its_profile_says(
    store: Store, member: str
) -> None:
    accounts, profiles = Accounts(store), Profiles(store)
    assert await accounts.get("nobody") is None
    assert await accounts.get(FIRST_ACCOUNT) == Account(FIRST_ACCOUNT, "owner", "admin", "", "")
    assert await accounts.get(member) == Account(member, member, "member", "", "")
    told = {"name": "Анна", "language": "ru", "time_zone": "Europe/Berlin"}
    await profiles.update(member, told)
    expected = Account(member, "Анна", "member", "ru", "Europe/Berlin")
    assert await accounts.get(member) == expected
    await profiles.clear(member)
    assert await accounts.get(member) == Account(member, member, "member", "", "")


@pytest.mark.parametrize(
    ("account", "scope", "allowed"),
    [
        (FIRST_ACCOUNT, "admin", EVERYTHING),
        (FIRST_ACCOUNT, "chat", CHAT),
        (MEMBER, "admin", CHAT),
        (MEMBER, "chat", CHAT),
    ],
)
async def test_a_key_never_has_more_than_its_account(
    redis: RedisClient,
    directory: Directory,
    member: str,
    account: str,
    scope: Scope,
    allowed: frozenset[str],
) -> None:
    _, secret = await create_key(redis, account, "k", scope)
    found = await directory.key(secret)
    assert found is not None
    assert (found.principal.user_id, found.principal.scopes) == (account, allowed)
    assert member


async def test_a_session_has_what_its_account_has(store: Store, member: str) -> None:
    redis = store.redis
    for account, allowed in ((FIRST_ACCOUNT, EVERYTHING), (member, CHAT)):
        token = await create_session(redis, account, days=1)
        found = await find_session(store, digest(token))
        assert found is not None
        assert (found.principal.user_id, found.principal.scopes) == (account, allowed)


@pytest.mark.parametrize("role", [None, "", "king"])
async def test_credentials_without_an_account_open_nothing(store: Store, role: str | None) -> None:
    redis = store.redis
    _, secret = await create_key(redis, "ghost", "k", "admin")
    token = await create_session(redis, "ghost", days=1)
    if role is not None:
        await redis.hset(keys.account("ghost"), ROLE, role)
    assert await find_key(store, digest(secret)) is None
    assert await find_session(store, digest(token)) is None


async def test_another_role_counts_within_a_second(
    redis: RedisClient, directory: Directory, member: str
) -> None:
    _, secret = await create_key(redis, member, "k", "admin")

    async def scopes() -> frozenset[str]:
        found = await directory.key(secret)
        return found.principal.scopes if found else frozenset()

    assert await scopes() == CHAT
    await redis.hset(keys.account(member), ROLE, "admin")

    async def may_all() -> bool:
        return await scopes() == EVERYTHING

    await wait_until(may_all, timeout=1)


@pytest.mark.parametrize("account", [FIRST_ACCOUNT, MEMBER])
async def test_a_look_up_is_one_round_trip(
    redis: RedisClient, directory: Directory, member: str, account: str
) -> None:
    """Only the first look-up of a member's credential takes two: whose it is was not known then."""
    _, secret = await create_key(redis, account, "k", "chat")
    assert await directory.key(secret)

    async def calls(*names: str) -> int:
        stats = await redis.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)

    async def asked_again() -> bool:
        return bool(await directory.key(secret)) and await calls("evalsha") > scripts

    scripts, reads = await calls("evalsha"), await calls("hget", "hgetall")
    await wait_until(asked_again, timeout=2)
    assert await calls("evalsha") - scripts == 1
    assert await calls("hget", "hgetall") - reads == 3, "those of the script and no other"
    assert member


async def test_nobody_touches_the_keys_of_others(redis: RedisClient, member: str) -> None:
    key_id, _ = await create_key(redis, member, "theirs", "admin")
    assert not await revoke_key(redis, FIRST_ACCOUNT, key_id)
    assert await list_keys(redis, FIRST_ACCOUNT) == []
