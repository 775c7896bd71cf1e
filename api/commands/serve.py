"""`assistant api`: the web page and the API."""

from __future__ import annotations

import argparse

import uvloop

from api.commands.process import process_that_stays
from api.server import bind, run_web


def configure(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    loaded, url = process_that_stays()
    uvloop.run(run_web(loaded, url, bind(loaded)))
    return 0
