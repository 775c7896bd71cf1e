"""What keeps the assistant from answering, as far as Redis and our own calls tell."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from core.errors import StoreError, StoreFull
from core.events import Trouble
from core.services import Services
from core.store import keys
from core.telemetry.share import Sharing

WORKER_SILENT_MS = 12_000
FRESH = 1.5
"""Seconds for which one look serves everybody who asks."""

LOOK_SECONDS = 1.5
NO_WORKER_SECONDS = 4.0
"""Grace for a worker that is just starting, or starting again."""

MODEL_MEMORY_MS = 120_000
"""How long a failed call of the model counts: only the next call tells whether it is back."""

FULL = {"memory": "store_full", "disk": "store_disk_full", "read_only": "store_read_only"}
MODEL_FIELDS = ("model_answered", "model_missed")


NO_WORKER = Trouble(
    "no_worker",
    "no worker is running: messages are kept and answered later; start one with `assistant worker`",
)
NO_MODEL = Trouble(
    "model_unreachable",
    "the model server could not be reached; start it, or correct its address in the settings",
)


def of_store(error: StoreError) -> Trouble:
    """An error of Redis as trouble; what fills or protects it has a code of its own."""
    code = FULL[error.cause] if isinstance(error, StoreFull) else error.code
    return Trouble(code, error.detail)


@dataclass(frozen=True, slots=True)
class Signs:
    """The workers that live, when a model last answered one of them, and when one found nobody."""

    workers: tuple[str, ...]
    answered: int
    missed: int


class Condition:
    """Looks when somebody asks, at most once in FRESH seconds."""

    def __init__(self, services: Services, shared: Sharing) -> None:
        self._services = services
        self._shared = shared
        self._looking = asyncio.Lock()
        self._looked = -FRESH
        self._trouble: Trouble | None = None
        self._alone_since: float | None = None

    @property
    def refused(self) -> StoreFull | None:
        """Why Redis takes no writes, if so."""
        return self._shared.refused

    async def now(self, *, try_writing: bool = False) -> Trouble | None:
        """The worst trouble, None when messages are answered. ``try_writing`` asks Redis again
        whether it takes writes, for a user whose message was just refused."""
        async with self._looking:
            if try_writing:
                await self._shared.try_now()
            if try_writing or time.monotonic() - self._looked > FRESH:
                self._trouble = await self._look()
                self._looked = time.monotonic()
            return self._trouble

    async def _look(self) -> Trouble | None:
        try:
            signs = await self.signs()
        except StoreError as error:
            self._alone_since = None
            return of_store(error)
        if self._shared.refused is not None:
            # Workers cannot give signs of life now: they are not what is wrong.
            self._alone_since = None
            return of_store(self._shared.refused)
        if not signs.workers:
            self._alone_since = self._alone_since or time.monotonic()
            waited = time.monotonic() - self._alone_since
            return NO_WORKER if waited > NO_WORKER_SECONDS else None
        self._alone_since = None
        return NO_MODEL if self._model_is_away(signs) else None

    def _model_is_away(self, signs: Signs) -> bool:
        # A test of the connection is made by this process and counts as an answer, too.
        answered = max(signs.answered, self._services.gateway.reach.answered)
        return signs.missed > max(answered, int(time.time() * 1000) - MODEL_MEMORY_MS)

    async def signs(self) -> Signs:
        """What the workers say of themselves. Raises StoreError."""
        store = self._services.store
        since = int(time.time() * 1000) - WORKER_SILENT_MS
        rows = await store.retry(
            lambda: store.redis.zrangebyscore(keys.workers(), since, "+inf"),
            deadline=LOOK_SECONDS,
        )
        names = tuple(row.decode() for row in rows)
        if not names:
            return Signs((), 0, 0)
        figures = await store.retry(lambda: self._figures(names), deadline=LOOK_SECONDS)
        return Signs(names, max(row[0] for row in figures), max(row[1] for row in figures))

    async def _figures(self, names: tuple[str, ...]) -> list[tuple[int, int]]:
        async with self._services.store.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(keys.worker(name), *MODEL_FIELDS)
            rows: list[list[bytes | None]] = await pipe.execute()
        return [(int(answered or 0), int(missed or 0)) for answered, missed in rows]
