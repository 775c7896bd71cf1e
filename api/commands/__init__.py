"""The command line, one file a command. One line a command; channels bring theirs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from channels import CHANNELS
from channels.base import Channel, check_channels
from core.errors import ConfigError

BAD_USE = 2
"""Exit code of bad use and bad configuration: a restart does not help."""


@dataclass(frozen=True, slots=True)
class Command:
    """``module`` has ``configure(parser)`` and ``run(args) -> exit code`` and is loaded when the
    command is asked for. One without ``about`` is for our own processes and not listed."""

    name: str
    module: str
    about: str = ""


COMMANDS: tuple[Command, ...] = (
    Command("up", "api.commands.up", "start everything: embedded server, web page and API, worker"),
    Command("api", "api.commands.serve", "start the web page and the API alone"),
    Command("worker", "api.commands.work", "start a worker alone"),
    Command(
        "demo",
        "api.commands.up",
        "like up, with a scripted model, for a look without a model of your own",
    ),
    Command("chat", "api.commands.chat.talk", "talk in the terminal"),
    Command("doctor", "api.commands.doctor.report", "check the installation and say how to fix it"),
    Command("key", "api.commands.key", "create, list and revoke API keys"),
    Command("password", "api.commands.password", "reset the password"),
    Command("backup", "api.commands.backup", "write all conversations and settings to a file"),
    Command("restore", "api.commands.restore", "put a backup into an empty data folder"),
    Command("user", "api.commands.user", "export or erase all data of a user"),
    Command("demo-model", "api.demo.model"),
)


def all_commands(
    commands: Sequence[Command] = COMMANDS, channels: Sequence[Channel] = CHANNELS
) -> dict[str, Command]:
    """Commands by name, those of the channels too. Raises ConfigError, which names the one that
    cannot be."""
    found: dict[str, Command] = {}
    for command in commands:
        if command.name in found:
            raise ConfigError(f"two commands are called {command.name}; rename one of them")
        found[command.name] = command
    check_channels(channels, taken=list(found))
    for channel in channels:
        found[channel.name] = Command(channel.name, "api.commands.channel", channel.about)
    return found


def load_command(command: Command) -> ModuleType:
    """The module of a command. Raises ConfigError, which names it."""
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if error.name is None or not command.module.startswith(error.name):
            raise
        raise ConfigError(f"the command {command.name} is broken: {error}") from error
    missing = [name for name in ("configure", "run") if not callable(getattr(module, name, None))]
    if missing:
        raise ConfigError(
            f"the command {command.name} is broken: {command.module} has no {missing[0]}()"
        )
    return module
