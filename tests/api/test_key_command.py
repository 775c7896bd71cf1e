"""`assistant key …` as real processes, on a home of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from core.accounts.api_keys import find_key
from core.accounts.credentials import digest
from core.home.embedded import running_server, start_server
from core.settings.groups import StoreSettings
from core.store.client import Store
from core.store.connection import connect
from core.store.redis import RedisClient
from core.store.scripts import read_scripts
from tests.support.commands import command


@pytest.fixture
async def running(tmp_path: Path) -> AsyncGenerator[Path]:
    """A home on which an embedded server runs, as while `up` does."""
    server = await start_server(tmp_path, StoreSettings())
    yield tmp_path
    await server.stop()


async def test_a_key_is_printed_once_and_works(running: Path) -> None:
    made = await command(running, "key", "create", "--name", "My script")
    secret = made.out.strip()
    assert (made.code, made.out) == (0, f"{secret}\n")
    assert "not shown again" in made.err
    redis = connect((await start_server(running, StoreSettings())).url)
    assert await scopes(redis, secret) == {"chat"}
    await redis.aclose()
    listed = await command(running, "key", "list")
    assert secret not in listed.out
    assert secret[:8] + "…" in listed.out
    assert "My script" in listed.out


async def scopes(redis: RedisClient, secret: str) -> set[str]:
    """What a key may do."""
    found = await find_key(Store(redis, read_scripts()), digest(secret))
    return set() if found is None else set(found.principal.scopes)


async def test_a_key_can_be_made_and_revoked_while_nothing_runs(tmp_path: Path) -> None:
    made = await command(tmp_path, "key", "create", "--name", "x", "--scope", "admin", "--json")
    entry = json.loads(made.out)
    assert entry["scope"] == "admin"
    assert await running_server(tmp_path) is None
    listed = json.loads((await command(tmp_path, "key", "list", "--json")).out)["items"]
    assert [(key["id"], key["last_used_at"]) for key in listed] == [(entry["id"], None)]
    revoked = await command(tmp_path, "key", "revoke", entry["id"])
    assert (revoked.code, revoked.out) == (0, f"{entry['id']} is revoked.\n")
    again = await command(tmp_path, "key", "revoke", entry["id"])
    assert again.code == 1
    assert "there is no key" in again.err
    assert "There are no keys" in (await command(tmp_path, "key", "list")).out


async def test_wrong_use_is_told(tmp_path: Path) -> None:
    assert (await command(tmp_path, "key")).code == 2
    assert (await command(tmp_path, "key", "create")).code == 2
    assert (await command(tmp_path, "key", "create", "--name", "x", "--scope", "root")).code == 2
    nameless = await command(tmp_path, "key", "create", "--name", "")
    assert (nameless.code, nameless.err) == (1, "assistant: name the key in 1 to 100 characters\n")


async def test_a_store_that_does_not_answer_is_told(tmp_path: Path) -> None:
    done = await command(tmp_path, "key", "list", REDIS_URL="redis://127.0.0.1:1/0")
    assert done.code == 1
    assert "Redis does not answer" in done.err
    assert "Traceback" not in done.err
