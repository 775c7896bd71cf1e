"""What a process of a channel does: it runs while the settings want its channel."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from channels.base import Channel
from core.errors import AssistantError, ConfigError
from core.home.lifeline import call_supervisor
from core.services import Process
from core.store import keys

log = logging.getLogger(__name__)

Run = Callable[[Process], Awaitable[None]]
"""Runs a channel until it is cancelled."""


def load_channel(channel: Channel) -> Run:
    """What runs the channel. Raises ConfigError, which names it."""
    try:
        found: object = getattr(importlib.import_module(channel.module), "run", None)
    except ImportError as error:
        raise ConfigError(f"the channel {channel.name} cannot be loaded: {error}") from error
    if not inspect.iscoroutinefunction(found):
        raise ConfigError(
            f"the channel {channel.name} is broken: {channel.module} has no async function run"
        )
    return cast("Run", found)


async def run_while_wanted(
    channel: Channel, process: Process, *, stop: asyncio.Event, may_rest: bool
) -> None:
    """Run the channel while the settings want it, until ``stop`` is set.

    Where a supervisor starts it again, ``may_rest``, it returns when it is not wanted: a process
    that only waits costs as much memory as one that works. Raises what ``run`` raises.
    """
    live, changed = process.services.settings, asyncio.Event()

    async def note(_group: str | None) -> None:
        changed.set()

    await process.announcements.hear(keys.settings_changed(), note)
    while not stop.is_set():
        changed.clear()
        if channel.wanted(live.current):
            log.info("channel %s runs", channel.name)
            await _run(channel, process, stop=stop, changed=changed)
        elif may_rest:
            log.info("channel %s is not wanted", channel.name)
            return
        else:
            await _first(stop.wait(), changed.wait())


async def _run(
    channel: Channel, process: Process, *, stop: asyncio.Event, changed: asyncio.Event
) -> None:
    work = asyncio.ensure_future(load_channel(channel)(process))
    try:
        while not work.done() and not stop.is_set():
            await _first(stop.wait(), changed.wait(), work=work)
            changed.clear()
            if not channel.wanted(process.services.settings.current):
                break
        if work.done():
            work.result()
            raise AssistantError(f"the channel {channel.name} has ended by itself")
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _first(*events: Awaitable[object], work: asyncio.Future[None] | None = None) -> None:
    tasks = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait([*tasks, *([work] if work else [])], return_when="FIRST_COMPLETED")
    finally:
        for task in tasks:
            task.cancel()


async def call_for_channels(process: Process, channels: Sequence[Channel]) -> None:
    """Tell the supervisor of changed settings that want a channel: it may be resting."""
    live = process.services.settings

    async def look(_group: str | None) -> None:
        if any(channel.wanted(live.current) for channel in channels):
            call_supervisor()

    if channels:
        await process.announcements.hear(keys.settings_changed(), look)
