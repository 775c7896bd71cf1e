"""A key goes only to the host that it was set together with, whatever a call leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from core.home.secrets import SecretBox
from core.live_settings.live import LiveSettings
from core.settings.groups import CloudSettings, ModelSettings
from core.settings.key_hosts import Layers, host_of
from core.settings.source import Layer, build
from core.store import keys
from core.store.client import Store

HOME_SERVER, EVIL, OTHER = "http://127.0.0.1:1234/v1", "http://evil.lan/v1", "http://other.lan/v1"
ENV_KEY = "sk-of-the-environment"
ENVIRONMENT: Layer = {"model": {"base_url": HOME_SERVER, "api_key": ENV_KEY}}


def live(store: Store, home: Path, environment: Layer = ENVIRONMENT) -> LiveSettings:
    layers: Layers = (("config", {}), ("environment", environment))
    return LiveSettings(build(home, layers), store, SecretBox(bytes(32)))


def key_of(group: object) -> str:
    return cast("ModelSettings | CloudSettings", group).api_key.get_secret_value()


@pytest.mark.parametrize("null", [{}, {"api_key": None}])
async def test_a_test_of_another_host_gets_neither_the_saved_key_nor_the_environments(
    store: Store, tmp_path: Path, null: dict[str, Any]
) -> None:
    it = live(store, tmp_path)
    assert key_of(it.check("model", {"base_url": EVIL, **null})) == ""
    assert key_of(it.check("model", null)) == ENV_KEY
    await it.save("model", {"base_url": OTHER, "api_key": "saved-key"})
    assert key_of(it.check("model", {"base_url": EVIL, **null})) == ""
    assert key_of(it.check("model", {"base_url": OTHER, "name": "m", **null})) == "saved-key"
    assert key_of(it.check("model", {"base_url": EVIL, "api_key": "typed"})) == "typed"


@pytest.mark.parametrize("null", [{}, {"api_key": None}])
async def test_the_environments_key_does_not_follow_a_saved_address(
    store: Store, tmp_path: Path, null: dict[str, Any]
) -> None:
    it = live(store, tmp_path)
    await it.save("model", {"base_url": EVIL, **null})
    assert (it.current.model.base_url, key_of(it.current.model)) == (EVIL, "")
    assert it.source("model", "api_key") == "default"
    await it.save("model", {"base_url": f"{HOME_SERVER}/other"})
    assert key_of(it.current.model) == ENV_KEY, "the host is what counts"
    await it.save("model", {"base_url": None})
    assert key_of(it.current.model) == ENV_KEY


async def test_a_key_without_an_address_is_for_no_host(store: Store, tmp_path: Path) -> None:
    it = live(store, tmp_path, {"model": {"api_key": ENV_KEY}})
    await it.save("model", {"base_url": EVIL})
    assert key_of(it.current.model) == ""
    await it.save("model", {"base_url": None, "api_key": "saved-key"})
    await it.save("model", {"base_url": EVIL})
    assert key_of(it.current.model) == ""


async def test_a_saved_key_does_not_go_back_to_the_environments_host(
    store: Store, tmp_path: Path
) -> None:
    it = live(store, tmp_path)
    await it.save("model", {"base_url": OTHER, "api_key": "saved-key"})
    assert key_of(it.current.model) == "saved-key"
    await it.save("model", {"base_url": None})
    assert (it.current.model.base_url, key_of(it.current.model)) == (HOME_SERVER, ENV_KEY)
    row = await store.redis.hgetall(keys.settings("model"))
    assert row == {}, "a key that nobody can see is not kept"


async def test_a_saved_key_stays_when_something_else_is_saved(store: Store, tmp_path: Path) -> None:
    it = live(store, tmp_path)
    await it.save("model", {"base_url": OTHER, "api_key": "saved-key"})
    await it.save("model", {"base_url": OTHER + "/v2", "name": "m"})
    await it.save("model", {"temperature": 1})
    assert key_of(it.current.model) == "saved-key"


async def test_the_environments_host_may_change_while_a_key_is_saved(
    store: Store, tmp_path: Path
) -> None:
    await live(store, tmp_path).save("model", {"api_key": "saved-key"})
    moved = live(store, tmp_path, {"model": {"base_url": OTHER, "api_key": ENV_KEY}})
    await moved.refresh()
    assert key_of(moved.current.model) == ENV_KEY


async def test_two_saves_at_once_do_not_join_a_key_and_a_foreign_host(
    store: Store, tmp_path: Path
) -> None:
    one, two = live(store, tmp_path), live(store, tmp_path)
    await one.save("model", {"api_key": "saved-key"})
    await two.save("model", {"base_url": EVIL})  # knows nothing of the key
    await one.refresh()
    assert (key_of(one.current.model), key_of(two.current.model)) == ("", "")


async def test_a_key_of_a_former_version_is_for_the_address_beside_it(
    store: Store, tmp_path: Path
) -> None:
    it = live(store, tmp_path)
    await it.save("model", {"base_url": OTHER, "api_key": "saved-key"})
    await store.redis.hdel(keys.settings("model"), "api_key.host")
    await it.refresh()
    assert key_of(it.current.model) == "saved-key"
    assert key_of(it.check("model", {"base_url": EVIL, "api_key": None})) == ""
    await it.save("model", {"name": "m"})
    assert key_of(it.current.model) == "saved-key"
    await it.save("model", {"base_url": EVIL})
    assert key_of(it.current.model) == ""


@pytest.mark.parametrize("own", [{}, {"cloud": {"api_key": "sk-of-the-cloud"}}])
async def test_the_cloud_gets_the_environments_key_only_at_the_environments_address(
    store: Store, tmp_path: Path, own: Layer
) -> None:
    it = live(store, tmp_path, {**ENVIRONMENT, **own})
    at_home = "sk-of-the-cloud" if own else ENV_KEY
    await it.save("cloud", {"enabled": True})
    assert key_of(it.current.cloud) == at_home
    await it.save("cloud", {"base_url": EVIL})
    assert key_of(it.current.cloud) == ""
    await it.save("cloud", {"api_key": None})
    assert key_of(it.current.cloud) == ""
    await it.save("cloud", {"base_url": None})
    assert key_of(it.current.cloud) == at_home
    await it.save("cloud", {"api_key": ""})
    assert key_of(it.current.cloud) == "", "a removed key is removed"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Server.LAN/v1", "http://server.lan:80"),
        ("https://server.lan", "https://server.lan:443"),
        ("http://server.lan:1234", "http://server.lan:1234"),
        ("http://[::1]:8/v1", "http://::1:8"),
        ("", ""),
        ("http://server.lan:port", ""),
        (7, ""),
    ],
)
def test_what_counts_as_one_host(url: object, host: str) -> None:
    assert host_of(url) == host
