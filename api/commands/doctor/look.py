"""What the checks of `assistant doctor` look at."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from api.commands.doctor import local as local
from core.errors import AssistantError
from core.home.embedded import running_server, socket_url
from core.home.secrets import open_box
from core.home.web_address import read_address
from core.live_settings.live import LiveSettings
from core.settings.groups import Settings
from core.settings.source import Loaded, Source
from core.store.client import Store
from core.store.connection import connect
from core.store.redis import RedisClient
from core.store.scripts import read_scripts


@dataclass(frozen=True, slots=True)
class Look:
    """An installation, as far as it can be seen."""

    loaded: Loaded
    """The settings of file and environment."""

    settings: Settings
    """The settings as running processes see them: with what was saved in the dashboard, if that
    can be read."""

    source: Callable[[str, str], Source]
    """Where the value of a group and name comes from."""

    unread: str
    """Why the saved settings cannot be read although the store answers; empty: they can."""

    redis: RedisClient | None
    """The store; None: it is the embedded server, which does not run."""

    running: bool
    """Whether `up` runs on this home."""

    url: str
    """Address of our web server, empty when none runs."""

    @property
    def home(self) -> Path:
        """The data folder."""
        return self.loaded.settings.home


@asynccontextmanager
async def looking(loaded: Loaded) -> AsyncGenerator[Look]:
    """Open what can be opened. Does not raise: the checks say what is wrong."""
    home, url = loaded.settings.home, loaded.settings.store.redis_url
    current: Loaded | LiveSettings = loaded
    redis, unread = None, ""
    if url or await running_server(home) is not None:
        redis = connect(url or socket_url(home))
    try:
        if redis is not None:
            try:
                current = await _saved(redis, loaded)
            except (RedisError, OSError):
                pass  # the check of the store says so
            except AssistantError as error:
                unread = error.detail
        settings, source = _seen(current)
        yield Look(
            loaded, settings, source, unread, redis, local.is_running(home), read_address(home)
        )
    finally:
        if redis is not None:
            await redis.aclose()


def _seen(current: Loaded | LiveSettings) -> tuple[Settings, Callable[[str, str], Source]]:
    if isinstance(current, LiveSettings):
        return current.current, current.source
    return current.settings, lambda group, name: current.sources[f"{group}.{name}"]


async def _saved(redis: RedisClient, loaded: Loaded) -> LiveSettings:
    live = LiveSettings(loaded, Store(redis, read_scripts()), open_box(loaded.settings.home))
    await live.refresh()
    return live
