"""Whether messages are answered: once, or as a stream that tells of each change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import asdict

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from sse_starlette import EventSourceResponse

from api.condition import Condition, Trouble
from api.middleware.principal import signed_in
from api.stream import FAREWELL, RETRY, Streams, respond
from core.accounts.principal import Principal

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
                frame = _frame(await self._condition.now())
                if frame != told:
                    told = frame
                    yield frame
                with suppress(TimeoutError):
                    async with asyncio.timeout(STEP):
                        await ended.wait()
        if self._streams.hub.closing:
            yield FAREWELL


def _frame(trouble: Trouble | None) -> bytes:
    data = orjson.dumps({"trouble": asdict(trouble) if trouble else None})
    return b"event: status\ndata: " + data + b"\n\n"


def status_router(condition: Condition, streams: Streams) -> APIRouter:
    """GET /api/status and /api/status/events."""
    routes = StatusRoutes(condition, streams)
    router = APIRouter(prefix="/api", tags=["system"])
    router.add_api_route("/status", routes.status, methods=["GET"])
    router.add_api_route("/status/events", routes.events, methods=["GET"])
    return router
