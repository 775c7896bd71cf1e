"""Whether each channel that the settings want runs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from api.commands.doctor.finding import Finding, fail, ok
from api.commands.doctor.look import Look
from channels import CHANNELS
from channels.base import Channel
from core.store import keys
from core.telemetry.share import FRESH_MS


async def channel_findings(look: Look, channels: Sequence[Channel] = CHANNELS) -> Sequence[Finding]:
    """One finding a wanted channel, while the store is there to ask. Raises RedisError."""
    wanted = [channel for channel in channels if channel.wanted(look.settings)]
    if not wanted or look.redis is None:
        return []
    oldest = int(time.time() * 1000) - FRESH_MS
    names = await look.redis.zrangebyscore(keys.telemetry_processes(), oldest, "+inf")
    roles = {await look.redis.hget(keys.telemetry(name.decode()), "role") for name in names}
    return [
        ok(channel.name, "runs")
        if channel.name.encode() in roles
        else fail(
            channel.name,
            "the settings want it, but no process of it runs",
            f"see the messages of `assistant up`, or start it with `assistant {channel.name}`",
        )
        for channel in wanted
    ]
