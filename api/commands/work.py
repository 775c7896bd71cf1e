"""`assistant worker`: runs turns."""

from __future__ import annotations

import argparse

import uvloop

from api.commands.process import process_that_stays
from graph.process import run_worker


def configure(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(args: argparse.Namespace) -> int:
    """Work until SIGTERM, then drain."""
    loaded, url = process_that_stays()
    uvloop.run(run_worker(loaded, url))
    return 0
