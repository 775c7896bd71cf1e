"""`assistant password reset`: for an owner who cannot sign in any more."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys

from api.commands.home_store import open_home_store
from api.commands.process import process_settings
from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.passwords import check_length, reset_password
from core.errors import Invalid
from core.settings.groups import Settings

TRIES = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """The one action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "reset",
        help="set a new password and sign every browser out",
        description="Sets a new password and signs every browser out. Asks for it on a terminal, "
        "else reads one line from standard input.",
    )


def run(args: argparse.Namespace) -> int:
    """Ask, then set. Raises Invalid for a password that cannot be used."""
    settings = process_settings().settings
    password = _ask() if sys.stdin.isatty() else _read()
    asyncio.run(_reset(settings, password))
    print("The password is set. Every browser was signed out; API keys still work.")
    return 0


async def _reset(settings: Settings, password: str) -> None:
    async with open_home_store(settings) as redis:
        await reset_password(redis, password, account_id=FIRST_ACCOUNT)


def _read() -> str:
    """One line; the length is checked before a server is started for it."""
    password = sys.stdin.readline().rstrip("\r\n")
    check_length(password)
    return password


def _ask() -> str:
    """The same password twice. Raises Invalid after the third slip."""
    for _ in range(TRIES):
        password = getpass.getpass("New password: ")
        try:
            check_length(password)
        except Invalid as error:
            print(error.detail, file=sys.stderr)
            continue
        if getpass.getpass("Again: ") == password:
            return password
        print("These two are not the same.", file=sys.stderr)
    raise Invalid("the password was not changed")
