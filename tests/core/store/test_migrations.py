"""State of an older version is brought to our format once; state of a newer one is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from core.backup.file import check
from core.backup.restore import restore
from core.conversations.threads import Threads
from core.errors import ConfigError
from core.store import keys
from core.store.client import Store
from core.store.connection import connect
from core.store.exclusive import exclusive
from core.store.migrations import MIGRATIONS, Migration, migrate, stored_format
from core.store.opening import STATE_FORMAT, open_store, open_untouched_store
from core.store.redis import RedisClient
from tests.support.backups import KEY
from tests.support.waiting import wait_until

FIXTURES = Path(__file__).parents[2] / "fixtures"
FIRST = 1
"""Format of the fixture."""

NEXT = STATE_FORMAT + 1
FINISHED = "tool:set_profile"
"""How the first message of the answered conversation in the fixture begins."""


@pytest.fixture
async def foundation(redis: RedisClient, redis_url: str) -> AsyncGenerator[Store]:
    """The state that version 0.1.0 wrote in a real run (tests/support/rich_state.py)."""
    assert await redis.dbsize() == 0
    async with open_untouched_store(redis_url, half_restored=True) as store:
        await restore(store, check(FIXTURES / "state_v1.backup", key=KEY))
        yield store


class Renaming:
    """A next migration, as one might be: all titles move to another field."""

    def __init__(self) -> None:
        self.runs = 0
        self.fail_at = 0

    async def run(self, redis: RedisClient) -> None:
        """Rename; fails in the middle when told so."""
        self.runs += 1
        for number, name in enumerate(await metas(redis), 1):
            title = await redis.hget(name, "title")
            if title is not None:
                await redis.hset(name, "name", title)
                await redis.hdel(name, "title")
            if number == self.fail_at:
                raise RedisConnectionError("the process dies here")

    @property
    def steps(self) -> tuple[Migration, ...]:
        """What would be registered."""
        return (*MIGRATIONS, Migration(NEXT, "titles are called names", self.run))


async def metas(redis: RedisClient) -> list[str]:
    """Names of the keys to change."""
    return sorted([name.decode() async for name in redis.scan_iter(match=keys.all_metas())])


async def names_of(redis: RedisClient) -> list[object]:
    """The renamed field of every conversation."""
    return [await redis.hget(name, "name") for name in await metas(redis)]


async def test_the_foundations_state_is_readable(foundation: Store, redis_url: str) -> None:
    async with open_store(redis_url) as store:
        threads = Threads(store)
        listed, _ = await threads.listed("owner", limit=10, cursor=None)
        assert len(listed) == 2
        pages = {t.title: await threads.page(t.id, limit=50, before=None) for t in listed}
        done = next(page for title, page in pages.items() if title.startswith(FINISHED))
        assert [m["role"] for m in done.messages] == ["user", "assistant"] * 3
        assert [m["status"] for m in pages["Cut"].messages] == ["queued"] * 3
    assert await stored_format(foundation.redis) == STATE_FORMAT


async def test_it_goes_through_the_next_migration(foundation: Store) -> None:
    renaming = Renaming()
    await migrate(foundation.redis, target=NEXT, migrations=renaming.steps)
    assert await stored_format(foundation.redis) == NEXT
    assert b"Cut" in await names_of(foundation.redis)
    await migrate(foundation.redis, target=NEXT, migrations=renaming.steps)
    assert renaming.runs == 1


async def test_processes_that_start_together_migrate_once(
    foundation: Store, redis_url: str
) -> None:
    renaming = Renaming()
    clients = [connect(redis_url) for _ in range(5)]
    await asyncio.gather(
        *(migrate(client, target=NEXT, migrations=renaming.steps) for client in clients)
    )
    for client in clients:
        await client.aclose()
    assert renaming.runs == 1
    assert await stored_format(foundation.redis) == NEXT


async def test_a_migration_that_died_is_run_again(foundation: Store) -> None:
    renaming = Renaming()
    renaming.fail_at = 1
    with pytest.raises(RedisConnectionError):
        await migrate(foundation.redis, target=NEXT, migrations=renaming.steps)
    assert await stored_format(foundation.redis) == STATE_FORMAT
    renaming.fail_at = 0
    await migrate(foundation.redis, target=NEXT, migrations=renaming.steps)
    assert await stored_format(foundation.redis) == NEXT
    assert None not in await names_of(foundation.redis)


async def test_the_next_version_waits_for_old_processes_to_stop(
    foundation: Store, redis_url: str
) -> None:
    old = connect(redis_url)
    async with old.pubsub() as pubsub:
        await pubsub.subscribe(keys.settings_changed())
        await wait_until(lambda: pubsub.get_message(timeout=0.1))
        with pytest.raises(ConfigError, match="stop them all"):
            await migrate(foundation.redis, target=NEXT, migrations=Renaming().steps)
    await old.aclose()
    assert await stored_format(foundation.redis) == FIRST


async def test_a_gap_between_versions_is_told(foundation: Store) -> None:
    with pytest.raises(ConfigError, match="start a version in between first"):
        await migrate(foundation.redis, target=NEXT + 1, migrations=Renaming().steps)


async def test_state_of_a_newer_version_is_refused_and_left_alone(
    foundation: Store, redis_url: str
) -> None:
    await foundation.redis.hset(keys.installation(), "format", str(NEXT))
    for opened in (open_store(redis_url), open_untouched_store(redis_url)):
        with pytest.raises(ConfigError, match=f"has format {NEXT}, this version knows"):
            async with opened:
                pass
    assert await stored_format(foundation.redis) == NEXT


async def test_a_new_store_has_our_format_at_once(redis: RedisClient, redis_url: str) -> None:
    async with open_store(redis_url):
        assert await stored_format(redis) == STATE_FORMAT


async def test_only_one_holds_the_state_at_a_time(redis: RedisClient) -> None:
    async with exclusive(redis) as first, exclusive(redis) as second:
        assert (first, second) == (True, False)
    async with exclusive(redis) as again:
        assert again


def test_every_format_after_the_first_has_its_migration() -> None:
    assert [step.to for step in MIGRATIONS] == list(range(2, STATE_FORMAT + 1))
