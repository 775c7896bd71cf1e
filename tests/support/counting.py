"""Clients of redis-py that note or disturb the commands of a test."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from core.store.redis import RedisClient


class CountingPipeline(Pipeline):
    """Commands that travel together are noted as one."""

    sent: list[tuple[Any, ...]]

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        self.sent.append(tuple(words for words, _ in self.command_stack))
        return await super().execute(raise_on_error)


class Counting(Redis):
    """A client that notes its commands when they are sent and when they are answered. It shares the
    connections of another one."""

    def __init__(self, other: RedisClient) -> None:
        super().__init__(connection_pool=other.connection_pool)
        self.sent: list[tuple[Any, ...]] = []
        self.answered: list[tuple[Any, ...]] = []

    @property
    def typed(self) -> RedisClient:
        """Itself, with the types of ours."""
        return cast("RedisClient", self)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        self.sent.append(args)
        answer = cast("object", await super().execute_command(*args, **options))
        self.answered.append(args)
        return answer

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> CountingPipeline:
        made = CountingPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        made.sent = self.sent
        return made

    @property
    def trips(self) -> int:
        """Round trips so far."""
        return len(self.sent)
