"""Where the web server listens when its usual port is taken."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from api.server import bind
from core.errors import ConfigError
from core.settings.source import Loaded, load


def settings_with(home: Path, port: int, *, is_set: bool) -> Loaded:
    """Settings whose port was set, or is the usual one."""
    loaded = load({"ASSISTANT_HOME": str(home), "ASSISTANT_PORT": str(port)})
    source = "environment" if is_set else "default"
    return Loaded(loaded.settings, {**loaded.sources, "server.port": source}, loaded.layers)


def test_the_next_free_port_is_taken_when_another_program_has_the_usual_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with bind(settings_with(tmp_path, taken, is_set=False)) as listener:
            assert taken < listener.getsockname()[1] < taken + 20


def test_a_port_that_was_set_is_not_left_for_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match="ASSISTANT_PORT"):
            bind(settings_with(tmp_path, taken, is_set=True))


def test_an_address_that_cannot_be_had_is_refused_at_once(tmp_path: Path) -> None:
    loaded = load({"ASSISTANT_HOME": str(tmp_path), "ASSISTANT_HOST": "192.0.2.1"})
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        bind(loaded)
