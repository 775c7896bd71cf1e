"""GET /metrics for Prometheus: figures of all processes."""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from api.condition import WORKER_SILENT_MS
from api.routes.parts import Parts
from core.errors import StoreError
from core.metrics import STATE, families
from core.store import keys
from core.store.client import Store
from core.telemetry.share import Sharing, merged

COUNTED_THREADS = 1000
"""Conversations whose inboxes are looked into for one answer."""


class Metrics:
    """The handler."""

    def __init__(self, store: Store, shared: Sharing) -> None:
        self._store = store
        self._shared = shared
        both = (*families("api"), *families("worker"))
        self._helps = {metric.name: metric.documentation for metric in both}

    async def metrics(self, request: Request) -> Response:
        """Metrics of all processes in the form of Prometheus or OpenMetrics."""
        try:
            everybody = await self._shared.everybody()
            state = await self._store.retry(self._state)
        except StoreError:
            everybody, state = [self._shared.own()], {"assistant_redis_up": 0.0}
        found = [*merged(everybody, self._helps).values(), *_gauges(state)]
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        registry = CollectorRegistry()
        registry.register(_Given(found))
        return Response(encode(registry), headers={"content-type": kind})

    async def _state(self) -> dict[str, float]:
        """The figures of ``core.metrics.STATE``."""
        redis, now = self._store.redis, int(time.time() * 1000)
        async with redis.pipeline(transaction=False) as pipe:
            pipe.info("memory")
            pipe.zcount(keys.workers(), now - WORKER_SILENT_MS, "+inf")
            pipe.hlen(keys.pending())
            pipe.xlen(keys.dead_letters())
            memory, workers, pending, dead = await pipe.execute()
        return {
            "assistant_redis_up": 1.0,
            "assistant_redis_used_memory_bytes": float(memory["used_memory"]),
            "assistant_workers": float(workers),
            "assistant_pending_threads": float(pending),
            "assistant_inbox_messages": float(await self._inbox_messages() if pending else 0),
            "assistant_dead_letters": float(dead),
        }

    async def _inbox_messages(self) -> int:
        redis = self._store.redis
        _, rows = await redis.hscan(keys.pending(), 0, count=COUNTED_THREADS)
        async with redis.pipeline(transaction=False) as pipe:
            for thread_id in list(rows)[:COUNTED_THREADS]:
                pipe.xlen(keys.inbox(thread_id.decode()))
            return sum(await pipe.execute())


class _Given(Collector):
    """Metrics that were collected before."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _gauges(values: dict[str, float]) -> list[Metric]:
    found: list[Metric] = []
    for state in STATE:
        if state.name in values:
            metric = Metric(state.name, state.help, "gauge")
            metric.add_sample(state.name, {}, values[state.name])
            found.append(metric)
    return found


def add_metrics(router: APIRouter, parts: Parts) -> None:
    """GET /metrics."""
    handler = Metrics(parts.services.store, parts.shared)
    router.add_api_route("/metrics", handler.metrics, methods=["GET"])
