"""`assistant user`: export and erase all data of a user, whether the assistant runs or not."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO

from api.announce import base_url
from api.commands.home_store import open_home
from api.commands.process import process_settings
from api.routes.export import exported
from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import list_keys, revoke_key
from core.accounts.orphans import drop_orphans
from core.accounts.passwords import is_set_up
from core.accounts.sessions import revoke_all_sessions
from core.accounts.setup_token import ensure_setup_token
from core.backup.erase import Erased, erase_user
from core.backup.export import metas_of, user_keys
from core.errors import ConfigError, Conflict, Invalid, NotFound
from core.home.files import new_file
from core.home.web_address import read_address
from core.settings.groups import Settings
from core.store import keys
from core.store.client import Store
from core.store.redis import RedisClient

STANDARD_OUTPUT = "-"

ON_DISK = {
    "rewritten": "The server has written its log anew: the texts are gone from its disk too.",
    "not_allowed": "The server did not rewrite its append-only file: the texts stand in it until "
    "it does (BGREWRITEAOF). Snapshots and backups of the server keep them as well.",
    "no_log": "If the server writes snapshots, the old ones still hold the texts.",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the two actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    export = actions.add_parser("export", help="write all data of a user as JSON")
    export.add_argument("user", metavar="USER", help=f"id of the user; you are {FIRST_ACCOUNT!r}")
    export.add_argument("file", metavar="FILE", help="a new file, or - for standard output")
    erase = actions.add_parser("erase", help="erase all data of a user, for good")
    erase.add_argument("user", metavar="USER", help=f"id of the user; you are {FIRST_ACCOUNT!r}")
    erase.add_argument("--yes", action="store_true", help="do not ask")
    erase.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; raises what the user should read."""
    settings = process_settings().settings
    if not settings.store.redis_url and not (settings.home / "redis").exists():
        raise ConfigError(f"there is no data in {settings.home}; is ASSISTANT_HOME right?")
    if args.action == "export":
        return asyncio.run(_export(settings, args.user, args.file))
    if not args.yes:
        _ask(args.user)
    erased, link = asyncio.run(_erase(settings, args.user))
    if args.json:
        print(json.dumps({"user": args.user, **asdict(erased), "setup_link": link}))
        return 0
    print(f"{args.user} is erased: {erased.threads} conversations, {erased.keys} keys.")
    print(ON_DISK[erased.disk])
    print("Backups made before still hold everything; delete them if they should not.")
    if link:
        print(f"Nobody can sign in now. Set a new password with this link:\n  {link}")
    return 0


# ---- export


async def _export(settings: Settings, user_id: str, file: str) -> int:
    async with open_home(settings) as store:
        if file == STANDARD_OUTPUT:
            await _write(store, user_id, sys.stdout.buffer)
            sys.stdout.flush()
            return 0
        path = Path(file)
        _check_new(path)
        with new_file(path) as target:
            await _write(store, user_id, target)
    print(f"{path}: everything that is stored about {user_id}.", file=sys.stderr)
    return 0


def _check_new(path: Path) -> None:
    if path.exists():
        raise Conflict(f"{path} exists; choose another name")


async def _write(store: Store, user_id: str, target: IO[bytes]) -> None:
    async for piece in exported(store, user_id):
        target.write(piece)


# ---- erase


def _ask(user_id: str) -> None:
    """Raises Invalid unless the id is typed."""
    print(
        f"This erases every conversation, the profile, keys and sessions of {user_id}, for good.\n"
        f"Type {user_id} to do it: ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    if sys.stdin.readline().strip() != user_id:
        raise Invalid("nothing was erased")


async def _erase(settings: Settings, user_id: str) -> tuple[Erased, str | None]:
    """What was erased, and the set-up link if nobody is left who could sign in."""
    async with open_home(settings) as store:
        if not await _exists(store, user_id):
            raise NotFound(f"there is no data of a user {user_id!r}")
        await _end_access(store.redis, user_id)
        erased = await erase_user(store, user_id)
        if user_id != FIRST_ACCOUNT:
            return erased, None
        token = await ensure_setup_token(store.redis, settings.home)
        address = read_address(settings.home) or base_url(settings, settings.server.port)
        return erased, f"{address}/setup#{token}"


async def _exists(store: Store, user_id: str) -> bool:
    if user_id == FIRST_ACCOUNT and await is_set_up(store.redis):
        return True
    return bool(await user_keys(store, user_id) or await metas_of(store, user_id))


async def _end_access(redis: RedisClient, user_id: str) -> None:
    """No credential works any more: nobody writes while we erase."""
    await redis.delete(keys.account(user_id))
    await revoke_all_sessions(redis, user_id)
    for key in await list_keys(redis, user_id):
        await revoke_key(redis, user_id, key["id"])
    await drop_orphans(redis)
