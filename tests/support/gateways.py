"""Gateways for tests: quick to tell and to retry, and what they answer added up."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from core.models.call_request import Timing
from core.models.gateway import Gateway, open_gateway
from core.models.wire.pieces import ModelAnswer
from core.settings.groups import Settings
from core.store.client import Store
from core.store.redis import RedisClient
from core.store.scripts import read_scripts

QUICK = Timing(notice_after=30, finish_grace=3, backoff=(0.01,), loading_notice_every=30)
"""Tells nothing of silence: a busy machine would make any server look slow."""

TELLING = replace(QUICK, notice_after=0.15)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
NOW = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
ASK = [{"role": "user", "content": "Hello"}]


@dataclass
class Fixed:
    """Settings that never change."""

    current: Settings


@asynccontextmanager
async def opened(redis: RedisClient, settings: Settings, **options: Any) -> AsyncGenerator[Gateway]:
    """A gateway with options of a test."""
    options = {"timing": QUICK, "ports": (), **options}
    store = Store(redis, read_scripts())
    async with open_gateway(store, Fixed(settings), **options) as it:
        yield it


async def ask(
    gateway: Gateway, settings: Settings, messages: Any = ASK, tools: Any = None, **options: Any
) -> ModelAnswer:
    """All pieces of one call, added up. Raises what the call raises."""
    answer = ModelAnswer()
    ids: dict[str, Any] = {"user_id": "u1", "thread_id": "t1", **options}
    async for pieces in gateway.stream(messages, tools, settings=settings, **ids):
        answer.add(pieces)
    return answer
