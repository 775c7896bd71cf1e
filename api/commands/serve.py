"""`assistant api`: the web page and the API."""

from __future__ import annotations

import argparse
import socket

import uvloop

from api.commands.process import (
    follow_parent,
    keep_what_is_loaded,
    process_settings,
    room_for_connections,
    running_store,
)
from api.server import bind, run_web
from core.settings.source import Loaded


def configure(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    loaded = process_settings()
    room_for_connections()
    url = running_store(loaded)
    keep_what_is_loaded()
    uvloop.run(_serve(loaded, url, bind(loaded.settings.server)))
    return 0


async def _serve(loaded: Loaded, url: str, listener: socket.socket) -> None:
    follow_parent()
    await run_web(loaded, url, listener)
