"""Whether messages are answered: once, or as a stream that tells of each change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import asdict

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from sse_starlette import EventSourceResponse

from api.condition import Condition
from api.middleware.principal import signed_in
from api.routes.parts import Parts
from api.stream import RETRY, Streams, frame, respond
from core.accounts.principal import Principal
from core.events import ServerShutdown, StatusChanged

STEP = 1.0
"""Seconds between two looks for a stream; all streams share one look."""


class TroubleOut(BaseModel):
    """What keeps messages from being answered."""

    code: str
    detail: str


class Status(BaseModel):
    """``trouble`` is null when messages are answered."""

    trouble: TroubleOut | None


class StatusRoutes:
    """The handlers."""

    def __init__(self, condition: Condition, streams: Streams) -> None:
        self._condition = condition
        self._streams = streams

    async def status(self, now: bool = Query(False)) -> Status:
        """Whether messages are answered; with `now` Redis is asked anew whether it takes writes."""
        found = await self._condition.now(try_writing=now)
        return Status(trouble=TroubleOut(**asdict(found)) if found else None)

    async def events(self, request: Request) -> EventSourceResponse:
        """The same as a stream: the state now, then each change."""
        return respond(self._frames(signed_in(request)))

    async def _frames(self, user: Principal) -> AsyncGenerator[bytes]:
        with self._streams.revocations.watch(user.credential) as ended:
            yield RETRY
            told = b""
            while not ended.is_set() and not self._streams.hub.closing:
                now = frame(StatusChanged(await self._condition.now()))
                if now != told:
                    told = now
                    yield now
                with suppress(TimeoutError):
                    async with asyncio.timeout(STEP):
                        await ended.wait()
        if self._streams.hub.closing:
            yield frame(ServerShutdown())


def add_status(router: APIRouter, parts: Parts) -> None:
    """GET /api/status and /api/status/events."""
    routes = StatusRoutes(parts.condition, parts.streams)
    router.add_api_route("/api/status", routes.status, methods=["GET"])
    router.add_api_route("/api/status/events", routes.events, methods=["GET"])
