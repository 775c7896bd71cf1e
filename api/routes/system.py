"""Health, the state of the parts, the drawing of the graph."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from api.condition import NO_WORKER, Condition, of_store
from api.middleware.principal import signed_in
from api.routes.parts import Parts
from core.errors import StoreError, StoreUnavailable
from core.events import Trouble
from core.models import usage
from core.services import Services
from core.store import keys

OPENAPI = "/api/openapi.json"


class System:
    """The handlers."""

    def __init__(self, services: Services, condition: Condition) -> None:
        self._services = services
        self._condition = condition

    async def health(self) -> dict[str, str]:
        """Whether this process answers."""
        return {"status": "ok"}

    async def ready(self) -> Response:
        """Whether messages would be answered: Redis takes writes, and there is a worker."""
        parts: dict[str, str] = {"api": "ok", "redis": "ok", "worker": "ok"}
        trouble: Trouble | None = None
        try:
            signs = await self._condition.signs()
            if not signs.workers:
                parts["worker"], trouble = "none is running", NO_WORKER
            if self._condition.refused is not None:
                raise self._condition.refused
        except StoreError as error:
            parts["redis"], trouble = error.detail, of_store(error)
            parts["worker"] = "unknown"
        status: dict[str, Any] = {"status": "degraded" if trouble else "ok", "parts": parts}
        status["trouble"] = asdict(trouble) if trouble else None
        return JSONResponse(status, 503 if trouble else 200)

    async def graph(self) -> Response:
        """The agent graph as mermaid text, nodes and edges."""
        redis = self._services.store.redis
        raw = await self._services.store.retry(lambda: redis.get(keys.graph_drawing()))
        if raw is None:
            raise StoreUnavailable("no worker has started yet; start one with `assistant worker`")
        return Response(raw, media_type="application/json")

    async def system(self, request: Request) -> dict[str, Any]:
        """Redis, workers, waiting work and today's usage."""
        redis, user = self._services.store.redis, signed_in(request)
        names = (await self._condition.signs()).workers

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


def add_health(router: APIRouter, parts: Parts) -> None:
    """Health, for everybody."""
    system = System(parts.services, parts.condition)
    router.add_api_route("/healthz", system.health, methods=["GET"])
    router.add_api_route("/readyz", system.ready, methods=["GET"])


def add_system(router: APIRouter, parts: Parts) -> None:
    """State, and what describes the assistant."""
    system = System(parts.services, parts.condition)
    router.add_api_route("/api/graph", system.graph, methods=["GET"])
    router.add_api_route("/api/system", system.system, methods=["GET"])
    router.add_api_route(OPENAPI, openapi, methods=["GET"], include_in_schema=False)


async def openapi(request: Request) -> Response:
    """This description."""
    app: FastAPI = request.app
    return JSONResponse(app.openapi())
