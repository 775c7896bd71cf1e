"""Redis without an event loop, for code that asks while it stands still: the watchdog."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

TIMEOUT = 0.2
"""Seconds for connecting, and for an answer."""


class AtOnce:
    """A connection of its own, made when it is first needed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._redis: Redis | None = None

    def which_exist(self, names: Sequence[str]) -> list[bool]:
        """Whether each of these strings exists; none of them while Redis is away."""
        if not names:
            return []
        try:
            if self._redis is None:
                self._redis = Redis.from_url(
                    self._url,
                    socket_timeout=TIMEOUT,
                    socket_connect_timeout=TIMEOUT,
                    retry=Retry(NoBackoff(), 0),
                )
            return [value is not None for value in self._redis.mget(list(names))]
        except (RedisError, OSError):
            self._redis = None
            return [False] * len(names)
