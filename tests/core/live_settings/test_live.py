"""Settings that change while the process runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.errors import Invalid
from core.home.secrets import SecretBox
from core.live_settings.live import LiveSettings
from core.live_settings.sealed import unreadable_secrets
from core.live_settings.watch import follow_settings
from core.logs import OURS, set_up_logging
from core.services import beside
from core.settings.groups import LogSettings
from core.settings.source import Layer, build
from core.store import keys
from core.store.client import Store
from core.store.connection import connect
from core.store.listening import Announcements
from tests.support.waiting import wait_until

ENVIRONMENT: Layer = {"model": {"name": "from-env", "api_key": "env-key"}}


def live(store: Store, home: Path, *, key: int = 0) -> LiveSettings:
    return LiveSettings(
        build(home, (("environment", ENVIRONMENT),)), store, SecretBox(bytes([key]) * 32)
    )


async def test_saved_values_take_effect_everywhere(store: Store, tmp_path: Path) -> None:
    one, two = live(store, tmp_path), live(store, tmp_path)
    await one.save("model", {"name": "saved", "max_tokens": 500})
    assert one.current.model.name == "saved"
    assert two.current.model.name == "from-env"
    await two.refresh()
    assert two.current.model.max_tokens == 500
    assert (two.source("model", "name"), two.source("model", "api_key")) == ("saved", "environment")


async def test_none_goes_back_to_the_environment(store: Store, tmp_path: Path) -> None:
    it = live(store, tmp_path)
    await it.save("model", {"name": "saved"})
    await it.save("model", {"name": None})
    assert (it.current.model.name, it.source("model", "name")) == ("from-env", "environment")


async def test_secrets_are_sealed_and_an_empty_one_removes_the_key(
    store: Store, tmp_path: Path
) -> None:
    it = live(store, tmp_path)
    await it.save("model", {"api_key": "very-secret"})
    raw = await store.redis.hget(keys.settings("model"), "api_key")
    assert raw is not None
    assert b"very-secret" not in raw
    assert it.current.model.api_key.get_secret_value() == "very-secret"
    await it.save("model", {"api_key": ""})
    assert it.current.model.api_key.get_secret_value() == ""


@pytest.mark.parametrize(
    ("group", "changes", "words"),
    [
        ("engine", {"max_inbox": 1}, "cannot be changed here"),
        ("nothing", {}, "cannot be changed here"),
        ("model", {"nmae": "x"}, "did you mean 'name'"),
        ("model", {"temperature": 9}, "model.temperature"),
        ("model", {"search_hosts": ["10.0.0.1"]}, "set MODEL_SEARCH_HOSTS and restart"),
        ("model", {"search_hosts": None}, "set MODEL_SEARCH_HOSTS and restart"),
        ("model", {"base_url": "nonsense"}, "write it like http"),
        ("orchestrator", {"autonomous_mode": "perhaps"}, "orchestrator.autonomous_mode"),
        ("security", {"cors_origins": "x"}, "security.cors_origins"),
    ],
)
async def test_what_cannot_be_saved(
    store: Store, tmp_path: Path, group: str, changes: dict[str, Any], words: str
) -> None:
    it = live(store, tmp_path)
    with pytest.raises(Invalid, match=words):
        await it.save(group, {"name": "good", **changes} if group == "model" else changes)
    assert not await store.redis.exists(keys.settings(group))


async def test_hosts_to_search_come_from_the_operator_even_if_something_else_is_stored(
    store: Store, tmp_path: Path
) -> None:
    it = live(store, tmp_path)
    redis = store.redis
    row = {"search_hosts": orjson.dumps(["10.0.0.1"]), "name": orjson.dumps("saved")}
    await redis.hset(keys.settings("model"), mapping=row)
    await it.refresh()
    assert it.current.model.name == "saved"
    assert it.current.model.search_hosts == ("127.0.0.1",)


async def test_one_bad_saved_value_does_not_take_the_others_along(
    store: Store, tmp_path: Path
) -> None:
    """After an update with a stricter limit every saved setting was ignored."""
    it = live(store, tmp_path)
    await it.save("model", {"name": "saved"})
    redis = store.redis
    await redis.hset(keys.settings("memory"), "short_term_window", orjson.dumps(0))
    await redis.hset(keys.settings("orchestrator"), "gone_in_this_version", b"1")
    await redis.hset(keys.settings("telegram"), "bot_token", b"not json")
    again = live(store, tmp_path)
    await again.refresh()
    assert again.current.model.name == "saved"
    assert again.current.memory.short_term_window == 20


@pytest.mark.parametrize("junk", [b"5", b"[1]", b"{}", b"\xff", b'"v1.x.\xd0\xb0"', b'"\\ud800"'])
async def test_junk_in_the_place_of_a_secret_ends_no_start(
    store: Store, tmp_path: Path, junk: bytes
) -> None:
    """`api_key = 5` in Redis ended `up` for good."""
    it = live(store, tmp_path)
    row = {"api_key": junk, "name": orjson.dumps("saved"), "api_key.host": b"\xff"}
    await store.redis.hset(keys.settings("model"), mapping=row)
    await store.redis.execute_command("HSET", keys.settings("model"), b"\xff", b"x")
    await store.redis.set(keys.settings("cloud"), "a text")
    await it.refresh()
    assert it.current.model.name == "saved"
    await store.redis.delete(keys.settings("cloud"))
    found = await unreadable_secrets(store, tmp_path)
    assert found in (["model.api_key"], [])


async def test_a_secret_of_another_key_file_is_left_out(store: Store, tmp_path: Path) -> None:
    await live(store, tmp_path).save("model", {"api_key": "very-secret", "name": "saved"})
    other = live(store, tmp_path, key=1)
    await other.refresh()
    assert other.current.model.name == "saved"
    assert other.current.model.api_key.get_secret_value() == "env-key"


async def test_lists_survive(store: Store, tmp_path: Path) -> None:
    it = live(store, tmp_path)
    await it.save("security", {"allowed_hosts": ["one.lan", "two.lan:80"]})
    assert it.current.security.allowed_hosts == ("one.lan", "two.lan:80")


async def test_a_watcher_hears_of_it(store: Store, redis_url: str, tmp_path: Path) -> None:
    here, there = live(store, tmp_path), live(store, tmp_path)
    blocking = connect(redis_url, blocking=True)
    announcements = Announcements(blocking)
    await follow_settings(there, announcements)
    async with beside(announcements.run(), name="announcements"):
        await here.save("model", {"name": "first"})
        await wait_until(lambda: there.current.model.name == "first")
        await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await here.save("model", {"name": "second"})
        await wait_until(lambda: there.current.model.name == "second")

    await blocking.aclose()


async def test_a_secret_that_was_saved_while_we_run_never_reaches_the_log(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    ours = {name: logging.getLogger(name).level for name in OURS}
    try:
        set_up_logging(LogSettings())
        one = live(store, tmp_path)
        secret = "correct horse battery"  # not-a-secret
        await one.save("cloud", {"api_key": secret})
        logging.getLogger("x").warning("the server said %s", secret)
        await one.save("cloud", {"api_key": None})
        logging.getLogger("x").warning("later it said %s", secret)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, number in ours.items():
            logging.getLogger(name).setLevel(number)
    said = capsys.readouterr().err
    assert "later it said [redacted]" in said
    assert secret not in said
