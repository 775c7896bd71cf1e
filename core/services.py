"""What every process of ours holds: opened once in the composition root, handed down by
constructor."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from core.accounts.profile import Profiles
from core.conversations.inbox import Bus
from core.conversations.threads import Threads
from core.home.secrets import open_box
from core.live_settings.live import LiveSettings
from core.models.fallback import CloudFallback
from core.models.gateway import Gateway, open_gateway
from core.settings.source import Loaded
from core.store.client import Store
from core.store.opening import open_store


@dataclass(frozen=True)
class Services:
    """The outside world and the stored state."""

    store: Store
    settings: LiveSettings
    bus: Bus
    threads: Threads
    profiles: Profiles
    gateway: Gateway


@asynccontextmanager
async def open_services(loaded: Loaded, url: str) -> AsyncGenerator[Services]:
    """Connect to everything; closes in reverse order. Raises ConfigError, StoreError."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(url))
        live = LiveSettings(loaded, store, open_box(loaded.settings.home))
        await live.refresh()
        gateway = await stack.enter_async_context(
            open_gateway(store, live, fallback=CloudFallback(store.redis))
        )
        yield Services(
            store=store,
            settings=live,
            bus=Bus(store),
            threads=Threads(store),
            profiles=Profiles(store),
            gateway=gateway,
        )
