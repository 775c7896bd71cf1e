"""What every process of ours holds: opened once in the composition root, handed down by
constructor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from core.accounts.profile import Profiles
from core.asks.client import Asks
from core.conversations.conversations import Conversations
from core.conversations.hub import Hub
from core.conversations.inbox import Bus
from core.conversations.threads import Threads
from core.home.lifeline import following_parent
from core.home.secrets import open_box
from core.jobs.jobs import Jobs, open_job_client
from core.live_settings.live import LiveSettings
from core.live_settings.watch import follow_settings
from core.models.fallback import CloudFallback
from core.models.gateway import Gateway, open_gateway
from core.settings.source import Loaded
from core.store.client import Store
from core.store.connection import connect
from core.store.listening import STEP, Announcements
from core.store.opening import open_store
from core.store.redis import RedisClient
from core.telemetry.share import Sharing, process_name, sharing
from core.telemetry.tracing import exporting


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
        yield services_of(store, live, gateway)


def services_of(store: Store, live: LiveSettings, gateway: Gateway) -> Services:
    """All services, from those that must be opened."""
    return Services(
        store=store,
        settings=live,
        bus=Bus(store),
        threads=Threads(store),
        profiles=Profiles(store),
        gateway=gateway,
    )


@dataclass(frozen=True)
class Process:
    """What a process holds that stays: a worker, the web process, a channel. What a process does
    not use costs it nothing."""

    name: str
    """A name that no other process has had."""

    role: str
    services: Services
    conversations: Conversations
    """What may be done to conversations, for people."""

    jobs: Jobs
    """To ask for background jobs."""

    asks: Asks
    """To ask a worker."""

    hub: Hub
    """To follow conversations."""

    blocking: RedisClient
    """For commands that wait, and for subscriptions."""

    announcements: Announcements
    """To hear what other processes tell all of them."""

    shared: Sharing
    """The figures of all processes."""


@asynccontextmanager
async def open_process(loaded: Loaded, url: str, *, role: str) -> AsyncGenerator[Process]:
    """All that a process needs that stays. In the block it ends with its supervisor, follows
    changed settings, is seen by restores and migrations, and leaves its figures and traces under
    its name and role. Closes in reverse order. Raises ConfigError, StoreError.

    ``role``: "api", "worker", or the name of a channel.
    """
    name = process_name()
    async with AsyncExitStack() as stack:
        stack.enter_context(following_parent())
        services = await stack.enter_async_context(open_services(loaded, url))
        jobs = await stack.enter_async_context(open_job_client(url))
        blocking = connect(url, blocking=True)
        stack.push_async_callback(blocking.aclose)
        announcements, hub = Announcements(blocking), Hub(blocking)
        asks = Asks(services.store, blocking)
        stack.push_async_callback(hub.aclose)
        await follow_settings(services.settings, announcements)
        await stack.enter_async_context(beside(announcements.run(), name="announcements"))
        await stack.enter_async_context(beside(hub.run(), name="hub"))
        with suppress(TimeoutError):  # Redis has just gone away: it is heard later
            async with asyncio.timeout(STEP):
                await announcements.begun.wait()
        await stack.enter_async_context(exporting(name, role))
        shared = await stack.enter_async_context(sharing(services.store, role, name))
        yield Process(
            name=name,
            role=role,
            services=services,
            conversations=_conversations(services, jobs),
            jobs=jobs,
            asks=asks,
            hub=hub,
            blocking=blocking,
            announcements=announcements,
            shared=shared,
        )


def _conversations(services: Services, jobs: Jobs) -> Conversations:
    return Conversations(
        services.bus,
        services.threads,
        engine=lambda: services.settings.current.engine,
        ask_to_erase=jobs.erase_thread,
    )


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None], *, name: str) -> AsyncGenerator[None]:
    """Run ``work`` in a task that is cancelled at the end of the block."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
