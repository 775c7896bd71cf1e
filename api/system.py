"""Health, the state of the parts, the drawing of the graph."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from api.principal import signed_in
from core import keys
from core.errors import StoreError, StoreUnavailable
from core.models import usage
from core.services import Services

WORKER_SILENT_MS = 12_000


class System:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def health(self) -> dict[str, str]:
        """Whether this process answers."""
        return {"status": "ok"}

    async def ready(self) -> Response:
        """Whether messages would be answered: Redis and at least one worker."""
        parts: dict[str, str] = {"api": "ok"}
        try:
            parts["redis"] = "ok" if await self._ping() else "silent"
            parts["worker"] = "ok" if await self._workers() else "none is running"
        except StoreError as error:
            parts["redis"] = error.detail
            parts["worker"] = "unknown"
        good = all(state == "ok" for state in parts.values())
        status = {"status": "ok" if good else "degraded", "parts": parts}
        return JSONResponse(status, 200 if good else 503)

    async def _ping(self) -> bool:
        redis = self._services.store.redis
        return bool(await self._services.store.retry(lambda: redis.ping()))

    async def _workers(self) -> list[str]:
        redis, now = self._services.store.redis, int(time.time() * 1000)
        rows = await self._services.store.retry(
            lambda: cast(
                "Awaitable[list[bytes]]",
                redis.zrangebyscore(keys.workers(), now - WORKER_SILENT_MS, "+inf"),
            )
        )
        return [row.decode() for row in rows]

    async def graph(self) -> Response:
        """The agent graph as mermaid text, nodes and edges."""
        redis = self._services.store.redis
        raw = await self._services.store.retry(
            lambda: cast("Awaitable[bytes | None]", redis.get(keys.graph_drawing()))
        )
        if raw is None:
            raise StoreUnavailable("no worker has started yet; start one with `assistant worker`")
        return Response(raw, media_type="application/json")

    async def system(self, request: Request) -> dict[str, Any]:
        """Redis, workers, waiting work and today's usage."""
        redis, user = self._services.store.redis, signed_in(request)
        names = await self._workers()

        async def read() -> list[Any]:
            async with redis.pipeline(transaction=False) as pipe:
                pipe.info("server")
                pipe.info("memory")
                pipe.hlen(keys.pending())
                pipe.xlen(keys.dead_letters())
                for name in names:
                    pipe.hgetall(keys.worker(name))
                return await pipe.execute()

        server, memory, pending, dead, *workers = await self._services.store.retry(read)
        today = datetime.now(UTC).date()
        return {
            "redis": {
                "version": server.get("valkey_version") or server.get("redis_version"),
                "used_memory": memory.get("used_memory"),
                "uptime_seconds": server.get("uptime_in_seconds"),
            },
            "queue": {"threads_with_work": pending, "dead_letters": dead},
            "workers": [
                {"name": name, **{k.decode(): int(v) for k, v in about.items()}}
                for name, about in zip(names, workers, strict=True)
            ],
            "usage": {"today": await usage.of_day(redis, user.user_id, today)},
        }


def system_router(services: Services) -> APIRouter:
    """Routes of health and state."""
    system = System(services)
    router = APIRouter(tags=["system"])
    router.add_api_route("/healthz", system.health, methods=["GET"])
    router.add_api_route("/readyz", system.ready, methods=["GET"])
    router.add_api_route("/api/graph", system.graph, methods=["GET"])
    router.add_api_route("/api/system", system.system, methods=["GET"])
    return router
