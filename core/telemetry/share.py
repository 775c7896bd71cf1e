"""Metrics of all processes in one answer: each leaves its figures in Redis, the one that is asked
adds them up.

Every series carries the process that counted it, and a process that starts again is a new one, so
counters never go backwards. Who answers writes its own figures first and reads them back with the
others': several web processes behind one address give the same, growing figures. What a killed
process had counted since its last sign of life (up to INTERVAL) is lost; one that stops in order
leaves its last figures behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
from prometheus_client.core import Metric
from redis.exceptions import RedisError

from core.errors import StoreError, StoreFull
from core.ids import new_id
from core.metrics import PULSE, families
from core.store import keys
from core.store.client import Store
from core.store.errors import translate

log = logging.getLogger(__name__)

INTERVAL = 5.0
"""Seconds between two signs of life, which also tell whether Redis takes writes."""

FIGURES_EVERY = 12
"""Signs of life to each writing of all figures where nothing happens: it takes milliseconds, half
of what an idle process would cost. After turns and requests every sign brings them."""

AGAIN = 1.0
"""Seconds after which a refused writing is tried again."""

JUST_NOW = 0.2
"""Seconds for which a writing tells whether Redis takes writes."""

KEPT = 600
"""Seconds that the last figures of a process stay, for scrapers that come rarely."""

FRESH_MS = 15_000
"""Older figures are those of a process that has gone: what it held (gauges) is no longer true."""

LABELS = ("role", "process")

Row = tuple[list[str], list[float]]


def process_name() -> str:
    """A name that no other process has had: a process id alone comes again."""
    return f"{socket.gethostname()}-{os.getpid()}-{new_id('p')[2:8]}"


# ---- one process: to bytes and back


def pack(metrics: Iterable[Metric]) -> bytes:
    """Compact JSON: per metric its name, type, label names and shape, then one row per series."""
    return orjson.dumps([entry for metric in metrics if (entry := _packed(metric))[4]])


def _packed(metric: Metric) -> tuple[str, str, list[str], list[tuple[str, str]], list[Row]]:
    rows: dict[tuple[str, ...], list[float]] = {}
    shape: dict[tuple[str, str], None] = {}
    names: list[str] = []
    for sample in metric.samples:
        if sample.name.endswith("_created"):
            continue
        names = [name for name in sample.labels if name != "le"]
        values = tuple(sample.labels[name] for name in names)
        shape[sample.name.removeprefix(metric.name), sample.labels.get("le", "")] = None
        rows.setdefault(values, []).append(_short(sample.value))
    packed: list[Row] = [(list(values), figures) for values, figures in rows.items()]
    return metric.name, metric.type, names, list(shape), packed


def _short(value: float) -> float:
    return int(value) if float(value).is_integer() else value


@dataclass(frozen=True)
class Figures:
    """What one process had counted. ``fresh``: it has just said so."""

    process: str
    role: str
    packed: bytes
    fresh: bool = True


def merged(everybody: Iterable[Figures], helps: Mapping[str, str]) -> dict[str, Metric]:
    """The metrics of all processes, each series labelled with its own."""
    found: dict[str, Metric] = {}
    for figures in everybody:
        for name, kind, labels, shape, rows in orjson.loads(figures.packed):
            if kind == "gauge" and not figures.fresh:
                continue
            metric = found.setdefault(name, Metric(name, helps.get(name, ""), kind))
            about = dict(zip(LABELS, (figures.role, figures.process), strict=True))
            for values, numbers in rows:
                series = {**dict(zip(labels, values, strict=True)), **about}
                for (suffix, le), number in zip(shape, numbers, strict=True):
                    bound = {"le": le} if le else {}
                    metric.add_sample(f"{name}{suffix}", {**series, **bound}, float(number))
    return found


# ---- all processes


class Sharing:
    """This process's part in the common figures."""

    def __init__(self, store: Store, role: str, name: str) -> None:
        self._store = store
        self.role = role
        self.name = name
        self.refused: StoreFull | None = None
        """Why Redis took no writes when we last tried: the cheapest way to know, for we write
        anyway."""
        self._tried = 0.0

    def own(self) -> Figures:
        """What this process has counted."""
        return Figures(self.name, self.role, pack(families(self.role)))

    async def write(self) -> None:
        """Leave the figures in Redis. Raises RedisError, OSError."""
        fields = {"role": self.role, "packed": self.own().packed}
        await self._send(fields)

    async def sign(self) -> None:
        """Say that this process lives, and find out whether Redis takes writes. Raises RedisError,
        OSError."""
        await self._send({})

    async def _send(self, fields: dict[str, str | bytes]) -> None:
        self._tried = time.monotonic()
        try:
            await self._send_once(fields)
        except RedisError as error:
            reason = translate(error)
            self.refused = reason if isinstance(reason, StoreFull) else self.refused
            raise
        self.refused = None

    async def try_now(self) -> None:
        """Find out whether Redis takes writes, unless we did a moment ago."""
        if time.monotonic() - self._tried > JUST_NOW:
            with contextlib.suppress(RedisError, OSError):
                await self.sign()

    async def _send_once(self, fields: dict[str, str | bytes]) -> None:
        async with self._store.redis.pipeline(transaction=False) as pipe:
            if fields:
                pipe.hset(keys.telemetry(self.name), mapping=fields)
            pipe.expire(keys.telemetry(self.name), KEPT)
            pipe.zadd(keys.telemetry_processes(), {self.name: int(time.time() * 1000)})
            pipe.expire(keys.telemetry_processes(), KEPT)
            await pipe.execute()

    async def everybody(self) -> list[Figures]:
        """The figures of all processes, those of this one as they are now. Raises StoreError."""
        redis, index = self._store.redis, keys.telemetry_processes()
        await self._store.retry(self.write)
        names = await self._store.retry(lambda: redis.zrange(index, 0, -1))
        rows = await self._store.retry(lambda: self._read(names))
        gone = [name for name, row in zip(names, rows, strict=True) if row is None]
        if gone:
            await self._store.retry(lambda: redis.zrem(index, *gone))
        return [row for row in rows if row is not None]

    async def _read(self, names: list[bytes]) -> list[Figures | None]:
        async with self._store.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(keys.telemetry(name.decode()), "role", "packed")
                # By the time to live: the clocks of several machines need not agree.
                pipe.pttl(keys.telemetry(name.decode()))
            answers = await pipe.execute()
        return [
            _figures(name.decode(), fields, left)
            for name, fields, left in zip(names, answers[::2], answers[1::2], strict=True)
        ]

    async def keep_writing(self) -> None:
        """Sign and write, over outages of Redis."""
        for number in itertools.count():
            try:
                anew = PULSE.taken() or number % FIGURES_EVERY == 0
                await (self.write() if anew else self.sign())
            except (RedisError, StoreError, OSError) as error:
                log.debug("metrics not written: %s", error)
                PULSE.beat()
            await asyncio.sleep(INTERVAL if self.refused is None else AGAIN)


def _figures(name: str, fields: list[bytes | None], left: int) -> Figures | None:
    role, packed = fields
    if role is None or packed is None:
        return None
    return Figures(name, role.decode(), packed, fresh=KEPT * 1000 - left < FRESH_MS)


@asynccontextmanager
async def sharing(store: Store, role: str, name: str) -> AsyncGenerator[Sharing]:
    """Write this process's figures until the end of the block, and once more then."""
    shared = Sharing(store, role, name)
    task = asyncio.create_task(shared.keep_writing(), name="metrics")
    try:
        yield shared
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(RedisError, StoreError, OSError):
            await shared.write()
