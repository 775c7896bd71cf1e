"""Keeps settings fresh in a process that has no worker loop."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from core import keys
from core.errors import StoreError
from core.live import LiveSettings

log = logging.getLogger(__name__)


async def watch_settings(live: LiveSettings, blocking: Redis) -> None:
    """Refresh whenever somebody saves a setting, until cancelled."""
    while True:
        try:
            async with blocking.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(keys.settings_changed())
                await live.refresh()
                while True:
                    message = cast("dict[str, Any] | None", await pubsub.get_message(timeout=None))
                    if message is not None and message["type"] == "message":
                        await live.refresh()
        except (RedisError, StoreError, OSError) as error:
            log.debug("settings: %s; trying again", error)
            await asyncio.sleep(1)
