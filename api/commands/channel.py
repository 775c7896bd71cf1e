"""`assistant <channel>`: runs one channel while the settings want it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal

import uvloop

from api.commands.process import process_that_stays
from channels import CHANNELS
from channels.base import Channel
from channels.running import run_while_wanted
from core.home.lifeline import is_supervised
from core.services import open_process
from core.settings.source import Loaded

log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM; under a supervisor also until the settings do not want the channel."""
    [channel] = [entry for entry in CHANNELS if entry.name == args.command]
    loaded, url = process_that_stays()
    uvloop.run(_run(loaded, url, channel))
    return 0


async def _run(loaded: Loaded, url: str, channel: Channel) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_process(loaded, url, role=channel.name) as process:
        await run_while_wanted(channel, process, stop=stop, may_rest=is_supervised())
    log.info("channel %s has stopped", channel.name)
