"""`assistant backup`: everything in one file, while the assistant runs or not."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from api.commands.home_store import open_untouched_home
from api.commands.process import process_settings
from api.commands.progress import ProgressLine
from core.backup.write import NOTHING, Written, write_backup
from core.errors import ConfigError
from core.home.embedded import prepare_home
from core.home.secrets import KEY_FILE, load_key
from core.settings.groups import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """File and format of the summary."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the file to write")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Write the file; raises what the user should read."""
    settings = process_settings().settings
    if not settings.store.redis_url and not (settings.home / "redis").exists():
        raise ConfigError(NOTHING)
    written = asyncio.run(_backup(settings, args.file))
    if args.json:
        print(json.dumps(as_json(written), ensure_ascii=False))
        return 0
    print(
        f"{written.path}: {written.totals.threads} conversations of {written.totals.users} users, "
        f"{written.totals.keys} keys, {written.bytes / 1024:.0f} KiB.\n"
        f"Not in it: {settings.home / KEY_FILE}, which opens the saved API keys and tokens and "
        "proves that the backup is yours. Keep a copy of it elsewhere."
    )
    return 0


async def _backup(settings: Settings, path: Path) -> Written:
    progress = ProgressLine("reading conversations")
    prepare_home(settings.home)
    try:
        async with open_untouched_home(settings) as store:
            return await write_backup(store, path, key=load_key(settings.home), progress=progress)
    finally:
        progress.close()


def as_json(written: Written) -> dict[str, Any]:
    """The summary for scripts."""
    return {
        "file": str(written.path),
        "bytes": written.bytes,
        "created_at": written.created_at,
        **asdict(written.totals),
    }
