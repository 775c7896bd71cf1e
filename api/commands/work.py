"""`assistant worker`: runs turns."""

from __future__ import annotations

import argparse

import uvloop

from api.commands.process import (
    follow_parent,
    keep_what_is_loaded,
    process_settings,
    room_for_connections,
    running_store,
)
from core.settings.source import Loaded
from graph.process import run_worker


def configure(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(args: argparse.Namespace) -> int:
    """Work until SIGTERM, then drain."""
    loaded = process_settings()
    room_for_connections()
    keep_what_is_loaded()
    uvloop.run(_work(loaded, running_store(loaded)))
    return 0


async def _work(loaded: Loaded, url: str) -> None:
    follow_parent()
    await run_worker(loaded, url)
