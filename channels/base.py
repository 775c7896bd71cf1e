"""What a channel is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.errors import ConfigError
from core.settings.groups import Settings

NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Channel:
    """A way in and out besides HTTP, in a process of its own."""

    name: str
    """Of the command, of the child of ``assistant up``, of the service in compose.yaml, and the
    role in its figures."""

    about: str
    """What its command does, for the help."""

    wanted: Callable[[Settings], bool]
    """Whether it can and must run with these settings, which change while it runs."""

    module: str
    """Holds its ``async def run(process)``, and is loaded in its own process only."""


def check_channels(channels: Sequence[Channel], *, taken: Sequence[str] = ()) -> None:
    """Raises ConfigError, which names the channel, for entries that cannot work. ``taken`` are
    names of other processes and commands."""
    seen = list(taken)
    for channel in channels:
        if NAME.fullmatch(channel.name) is None:
            raise ConfigError(f"a channel cannot be called {channel.name!r}; use a-z, 0-9 and -")
        if channel.name in seen:
            raise ConfigError(f"the name of the channel {channel.name} is taken; give it another")
        seen.append(channel.name)
