"""`assistant key`: create, list and revoke API keys, whether the assistant runs or not."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from typing import cast

from api.commands.home_store import open_home_store
from api.commands.process import process_settings
from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import create_key, list_keys, revoke_key
from core.accounts.principal import Scope
from core.errors import NotFound
from core.settings.groups import Settings

NEVER = "never"


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the three actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a key and print it, this once")
    create.add_argument("--name", required=True, help="what the key is for; shown in lists")
    create.add_argument(
        "--scope",
        choices=("chat", "admin", "v1"),
        default="chat",
        help="chat: talk and read (default); admin: also settings and keys; v1: only /v1",
    )
    create.add_argument("--json", action="store_true", help="print one JSON object")
    listing = actions.add_parser("list", help="list the keys")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    revoke = actions.add_parser("revoke", help="end a key and its open streams")
    revoke.add_argument("id", metavar="ID", help="id of the key, as `key list` shows it")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; raises what the user should read."""
    settings = process_settings().settings
    match args.action:
        case "create":
            asyncio.run(_create(settings, args.name, args.scope, as_json=args.json))
        case "list":
            asyncio.run(_list(settings, as_json=args.json))
        case _:
            asyncio.run(_revoke(settings, args.id))
    return 0


async def _create(settings: Settings, name: str, scope: Scope, *, as_json: bool) -> None:
    async with open_home_store(settings) as redis:
        key_id, secret = await create_key(redis, FIRST_ACCOUNT, name, scope)
    if as_json:
        print(json.dumps({"id": key_id, "name": name, "scope": scope, "key": secret}))
        return
    # The key alone goes to standard output: `KEY=$(assistant key create --name script)`.
    print(secret)
    print(f"This is {key_id} (scope {scope}). Keep it now: it is not shown again.", file=sys.stderr)


async def _list(settings: Settings, *, as_json: bool) -> None:
    async with open_home_store(settings) as redis:
        found = await list_keys(redis, FIRST_ACCOUNT)
    if as_json:
        print(json.dumps({"items": [_as_json(fields) for fields in found]}, ensure_ascii=False))
        return
    if not found:
        print("There are no keys. Make one with `assistant key create --name NAME`.")
        return
    head = ("ID", "NAME", "SCOPE", "BEGINS", "CREATED", "LAST USED", "EXPIRES")
    print("\n".join(table([head, *(_row(fields) for fields in found)])))


async def _revoke(settings: Settings, key_id: str) -> None:
    async with open_home_store(settings) as redis:
        if not await revoke_key(redis, FIRST_ACCOUNT, key_id):
            raise NotFound(f"there is no key {key_id}; `assistant key list` shows those there are")
    print(f"{key_id} is revoked.")


def _as_json(fields: dict[str, str]) -> dict[str, str | None]:
    """The names that GET /api/keys has; null stands for never."""
    shown = cast("dict[str, str | None]", dict(fields))
    return {
        **{name: shown[name] for name in ("id", "name", "prefix", "scope", "created_at")},
        "last_used_at": shown["used_at"] or None,
        "expires_at": shown["expires_at"] or None,
    }


def _row(fields: dict[str, str]) -> tuple[str, ...]:
    return (
        fields["id"],
        "".join(c if c.isprintable() else "?" for c in fields["name"]),
        fields["scope"],
        fields["prefix"] + "…",
        _day(fields["created_at"]),
        _day(fields["used_at"]),
        _day(fields["expires_at"]),
    )


def _day(time: str) -> str:
    return time[:16].replace("T", " ") or NEVER


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the cells of each column one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
