"""The command line. Each command lives in a module of its own, loaded only when it is asked for."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from api.commands import BAD_USE, Command, all_commands, load_command
from channels import CHANNELS
from core.errors import AssistantError, ConfigError, StoreUnavailable

OK, FAILED = 0, 1
TRY_LATER = os.EX_TEMPFAIL
"""Redis does not answer. Told apart for the supervisor only, whose children wait for it."""

SUPERVISED = ("api", "worker", *(channel.name for channel in CHANNELS))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the value is the exit code: 0 ok, 1 failed, 2 bad use."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = next((a for a in arguments if not a.startswith("-")), "")
    parser = argparse.ArgumentParser(
        prog="assistant", description="A personal assistant that runs on your own machine."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    try:
        known = all_commands()
        for command in known.values():
            # Without the word `help` a command is not listed.
            sub = (
                commands.add_parser(command.name, help=command.about, description=command.about)
                if command.about
                else commands.add_parser(command.name)
            )
            if command.name == name:
                load(command).configure(sub)
        parsed = parser.parse_args(arguments)
        return int(load(known[parsed.command]).run(parsed))
    except ConfigError as error:
        return _complain(error, BAD_USE)
    except StoreUnavailable as error:
        return _complain(error, TRY_LATER if name in SUPERVISED else FAILED)
    except AssistantError as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        return 130


def load(command: Command) -> ModuleType:
    """A command's module with all that it imports. Without the garbage collector: nothing of it is
    garbage, and looking takes an eighth of the time."""
    gc.disable()
    try:
        return load_command(command)
    finally:
        gc.enable()


def _complain(error: AssistantError, code: int) -> int:
    print(f"assistant: {error.detail}", file=sys.stderr)
    return code
