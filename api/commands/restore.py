"""`assistant restore`: a backup into an empty data folder or database."""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

from api.commands.home_store import open_untouched_home
from api.commands.process import process_settings
from api.commands.progress import ProgressLine
from core.backup.file import Backup, check
from core.backup.restore import Restored, check_format, check_signature, restore
from core.home.embedded import home_lock
from core.home.secrets import KEY_FILE, existing_key
from core.live_settings.sealed import unreadable_secrets
from core.settings.groups import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """File and format of the summary."""
    parser.add_argument("file", metavar="FILE", type=Path, help="what `assistant backup` wrote")
    parser.add_argument(
        "--unsigned",
        action="store_true",
        help="also a backup that was not signed with the secret.key of this data folder",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Check the file, then fill the store; raises what the user should read."""
    settings = process_settings().settings
    # Before anything else, so that a bad file leaves no trace.
    backup = check(args.file, key=existing_key(settings.home))
    check_format(backup)
    check_signature(backup, unsigned=args.unsigned)
    restored, sealed = asyncio.run(_restore(settings, backup))
    if args.json:
        summary = {
            "file": str(backup.path),
            **asdict(restored),
            "signed": backup.signature == "ours",
            "secrets_to_enter": sealed,
        }
        print(json.dumps(summary, ensure_ascii=False))
        return 0
    print(_summary(settings, backup, restored, sealed))
    return 0


async def _restore(settings: Settings, backup: Backup) -> tuple[Restored, list[str]]:
    progress = ProgressLine("restoring")
    async with AsyncExitStack() as stack:
        stack.callback(progress.close)
        if not settings.store.redis_url:
            await stack.enter_async_context(home_lock(settings.home))
        store = await stack.enter_async_context(open_untouched_home(settings, half_restored=True))
        restored = await restore(store, backup, progress=progress)
        return restored, await unreadable_secrets(store, settings.home)


def _summary(settings: Settings, backup: Backup, restored: Restored, sealed: list[str]) -> str:
    lines = [
        f"Restored the backup of {backup.header.get('created_at', '?')}: "
        f"{restored.threads} conversations of {restored.users} users, {restored.keys} keys."
    ]
    if restored.waiting:
        lines.append(
            f"{restored.waiting} conversations have messages that were not answered yet; a worker "
            "answers them at the next start."
        )
    if restored.expired:
        lines.append(f"{restored.expired} keys were left out: their time is over.")
    if restored.refused:
        lines.append(
            f"{restored.refused} keys were left out that no backup should hold: sessions, or API "
            "keys that no list names."
        )
    lines.append("Every browser is signed out; password and API keys are as they were.")
    if backup.signature != "ours":
        lines.append(
            "This backup is not signed, so anybody who had the file may have changed it. Look at "
            "the API keys (assistant key list) and the model server, and set a new password if in "
            "doubt (assistant password reset)."
        )
    if sealed:
        lines.append(
            f"These saved secrets cannot be read here: {', '.join(sealed)}. Copy {KEY_FILE} of "
            f"the old data folder to {settings.home / KEY_FILE} before the start, or enter them "
            "again."
        )
    return "\n".join(lines)
