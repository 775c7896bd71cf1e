"""What every command of ours does first: settings, logging, the store to use."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys

from core.errors import ConfigError
from core.home.embedded import socket_path, socket_url
from core.logs import set_up_logging
from core.settings.source import Loaded, load, misspelt, unread, unused

COLLECT_AFTER = (20_000, 20, 50)
"""Allocations between garbage collections, and collections between those of older objects."""

DESCRIPTORS = 65_536
"""Open files that a process of ours may need at most; each event stream is one."""


def process_settings() -> Loaded:
    """Settings of this process, with logging set up. Raises ConfigError."""
    loaded = load()
    set_up_logging(loaded.settings.log, loaded.secrets())
    return loaded


def process_that_stays() -> tuple[Loaded, str]:
    """Settings and store of a process that runs until it is stopped, prepared for a long life.
    Raises ConfigError."""
    loaded = process_settings()
    room_for_connections()
    keep_what_is_loaded()
    return loaded, running_store(loaded)


def room_for_connections() -> None:
    """Raise the soft limit of open files as far as the hard one allows.

    Many systems allow 1,024 by default, for the sake of programs that use select(); ours do not,
    and a thousand readers need more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has a further limit, unannounced
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def warn_of_slips(loaded: Loaded) -> None:
    """Say which environment variables look like a misspelt setting, which settings do nothing, and
    which file is not read."""
    for warning in (*misspelt(), *unused(loaded), *unread(loaded.settings.home)):
        print(f"assistant: {warning}", file=sys.stderr)


def running_store(loaded: Loaded) -> str:
    """URL of the store that a single process joins. Raises ConfigError when none runs."""
    if loaded.settings.store.redis_url:
        return loaded.settings.store.redis_url
    home = loaded.settings.home
    if not socket_path(home).exists():
        raise ConfigError(
            f"no server runs on {home}; start everything with `assistant up`, or set REDIS_URL"
        )
    return socket_url(home)


def keep_what_is_loaded() -> None:
    """Leave modules and classes, which stay as long as the process, out of garbage collections, and
    collect less often: a seventh of a turn's time in a worker (docs/performance.md)."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
