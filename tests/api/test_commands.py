"""The list of commands."""

from __future__ import annotations

import re

import pytest

from api.commands import COMMANDS, Command, all_commands, load_command
from core.errors import ConfigError
from tests.style import tree
from tests.support.echo_channel import ECHO


def test_each_command_can_run() -> None:
    for command in all_commands().values():
        load_command(command)
    assert all_commands(channels=[ECHO])["echo"].about == ECHO.about


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("api.commands.nowhere", "the command fax is broken: No module named"),
        ("core.errors", "the command fax is broken: core.errors has no configure()"),
    ],
)
def test_a_command_that_cannot_run_is_named(module: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_command(Command("fax", module))


def test_two_commands_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two commands are called up"):
        all_commands([*COMMANDS, COMMANDS[0]])


def test_each_command_is_described() -> None:
    page = tree.text(tree.ROOT / "docs" / "cli.md")
    listed = [command.name for command in all_commands().values() if command.about]
    assert [name for name in listed if f"`{name}`" not in page] == []
