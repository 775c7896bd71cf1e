"""How much context a model really has: as set, as its server says, and as its refusals show.

What the server says is asked anew now and then, because people load models anew. A limit that was
met by being refused holds for a day, for all processes; it goes at once when the server names
another size, takes a longer prompt, or is tested.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from core.models.errors import ModelError
from core.models.servers.capabilities import Capabilities
from core.models.servers.context import served_context
from core.models.servers.servers import Servers, Target
from core.models.wire.transport import Transport
from core.settings.groups import ModelSettings

DEFAULT_CONTEXT = 8192
LEAST_CONTEXT = 2048
"""A limit that no server has named is never believed to be smaller."""
UNKNOWN_SECONDS = 60
"""Between two questions to a server that has not said its size."""
KNOWN_SECONDS = 600
"""Between two questions to one that has."""


class Windows:
    """Context sizes of all targets."""

    def __init__(self, servers: Servers, transport: Transport) -> None:
        self._servers = servers
        self._transport = transport
        self._ask_at: dict[tuple[str, str], float] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def of(self, model: ModelSettings) -> int:
        """Tokens that the model can take. Never raises for a server that is away: the call itself
        will say so better."""
        try:
            target = await self._servers.resolve(model)
        except ModelError:
            return model.context_window or DEFAULT_CONTEXT
        known = await self._servers.known(target)
        if model.context_window and known.context_limit is None:
            return model.context_window
        if known.context_window is None and known.context_limit is None:
            if self._is_due(target):
                await self._ask(target, UNKNOWN_SECONDS)
                known = await self._servers.known(target)
        elif self._is_due(target):
            self.ask_beside(target)
        said = model.context_window or known.context_window
        return _smaller(said, known.context_limit) or DEFAULT_CONTEXT

    # ---- what calls teach

    async def named(self, model: ModelSettings, target: Target, size: int) -> None:
        """The server refused a request and named its limit."""

        def update(known: Capabilities) -> Capabilities:
            said = model.context_window or known.context_window
            if said is None or size < said:
                return _limited(known, size)
            # It does not contradict what is believed: the request was longer than estimated.
            known = _limited(known, None)
            return known if model.context_window else replace(known, context_window=size)

        await self._servers.change(target, update)
        self.ask_beside(target)

    async def refused(self, model: ModelSettings, took: int) -> None:
        """The server refused a request without a word about its limit, and then took one for a
        context of ``took`` tokens."""
        try:
            target = await self._servers.resolve(model)
        except ModelError:
            return
        limit = max(took, LEAST_CONTEXT)

        def update(known: Capabilities) -> Capabilities:
            said = _smaller(model.context_window or known.context_window, known.context_limit)
            return known if said is not None and limit >= said else _limited(known, limit)

        await self._servers.change(target, update)
        self.ask_beside(target)

    async def took(self, target: Target, known: Capabilities, tokens: int) -> None:
        """The server took a prompt of so many tokens: what is believed to be less is wrong."""

        def update(known: Capabilities) -> Capabilities:
            if known.context_limit is not None and tokens > known.context_limit:
                known = _limited(known, None)
            if known.context_window is not None and tokens > known.context_window:
                known = replace(known, context_window=None)
            return known

        if update(known) != known:
            await self._servers.change(target, update)
            self.ask_beside(target)

    # ---- asking the server

    async def aclose(self) -> None:
        """Let go of questions that are on their way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_due(self, target: Target) -> bool:
        return self._ask_at.get((target.base_url, target.model), 0) <= time.monotonic()

    def ask_beside(self, target: Target) -> None:
        """Ask the server now, without anybody waiting for it."""
        key = (target.base_url, target.model)
        if key in self._asking:
            return
        task = asyncio.create_task(self._ask(target, KNOWN_SECONDS), name=f"context of {key[1]}")
        self._asking[key] = task
        task.add_done_callback(lambda _: self._asking.pop(key, None))

    async def _ask(self, target: Target, again: float) -> None:
        self._ask_at[target.base_url, target.model] = time.monotonic() + again
        size = await served_context(
            self._transport,
            target.base_url,
            target.model,
            kind=target.kind,
            api_key=target.api_key,
        )
        if size:
            await self._servers.change(target, _says(size))


def _says(size: int) -> Callable[[Capabilities], Capabilities]:
    """The server says a size: one that it did not say before makes older refusals meaningless."""

    def update(known: Capabilities) -> Capabilities:
        if size == known.context_window:
            return known
        fresh = replace(known, context_window=size)
        # Met before the server was asked for the first time, a refusal knows better.
        return fresh if known.context_window is None else _limited(fresh, None)

    return update


def _limited(known: Capabilities, limit: int | None) -> Capabilities:
    at = "" if limit is None else datetime.now(UTC).isoformat()
    return replace(known, context_limit=limit, context_limit_at=at)


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((size for size in (one, other) if size), default=None)
