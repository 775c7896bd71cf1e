"""Keeps settings fresh in a process that has no worker loop."""

from __future__ import annotations

import asyncio
import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.errors import StoreError
from core.live_settings.live import LiveSettings
from core.store import keys
from core.store.listening import BACKED, heard, subscription

log = logging.getLogger(__name__)


async def watch_settings(live: LiveSettings, blocking: Redis) -> None:
    """Refresh whenever somebody saves a setting, until cancelled."""
    while True:
        try:
            async with subscription(blocking, keys.settings_changed()) as pubsub:
                await live.refresh()
                async for message in heard(pubsub, silence=BACKED):
                    if message["type"] == "message":
                        await live.refresh()
        except (RedisError, StoreError, OSError) as error:
            log.debug("settings: %s; trying again", error)
            await asyncio.sleep(1)
