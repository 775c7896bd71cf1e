"""The command line. Each command lives in a module of its own, loaded only when it is asked for."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from core.errors import AssistantError, ConfigError, StoreUnavailable

COMMANDS = {
    "up": ("api.commands.up", "start everything: embedded server, web page and API, worker"),
    "api": ("api.commands.serve", "start the web page and the API alone"),
    "worker": ("api.commands.work", "start a worker alone"),
    "demo": (
        "api.commands.up",
        "like up, with a scripted model, for a look without a model of your own",
    ),
    "chat": ("api.commands.chat.talk", "talk in the terminal"),
    "doctor": ("api.commands.doctor.report", "check the installation and say how to mend it"),
    "key": ("api.commands.key", "create, list and revoke API keys"),
    "password": ("api.commands.password", "reset the password"),
    "backup": ("api.commands.backup", "write all conversations and settings to a file"),
    "restore": ("api.commands.restore", "put a backup into an empty data folder"),
    "user": ("api.commands.user", "export or erase all data of a user"),
    "demo-model": ("api.demo.model", ""),
}
"""Command → (module with ``configure(parser)`` and ``run(args) -> exit code``, help).

One without a help text is for our own processes and not listed.
"""

OK, FAILED, BAD_USE = 0, 1, 2
TRY_LATER = os.EX_TEMPFAIL
"""Redis does not answer. Told apart for the supervisor only, whose children wait for it."""

SUPERVISED = ("api", "worker")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the value is the exit code: 0 ok, 1 failed, 2 bad use."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = next((a for a in arguments if not a.startswith("-")), "")
    parser = argparse.ArgumentParser(
        prog="assistant", description="A personal assistant that runs on your own machine."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, (module, about) in COMMANDS.items():
        # Without the word `help` a command is not listed.
        sub = (
            commands.add_parser(command, help=about, description=about)
            if about
            else commands.add_parser(command)
        )
        if command == name:
            load(module).configure(sub)
    parsed = parser.parse_args(arguments)
    try:
        return int(load(COMMANDS[parsed.command][0]).run(parsed))
    except ConfigError as error:
        return _complain(error, BAD_USE)
    except StoreUnavailable as error:
        return _complain(error, TRY_LATER if name in SUPERVISED else FAILED)
    except AssistantError as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        return 130


def load(module: str) -> ModuleType:
    """A module with all that it imports. Without the garbage collector: nothing of it is garbage,
    and looking takes an eighth of the time."""
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.enable()


def _complain(error: AssistantError, code: int) -> int:
    print(f"assistant: {error.detail}", file=sys.stderr)
    return code
