"""How often one may try a password: slows guessing down, never locks anybody out for good."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from core.errors import RateLimited
from core.store import keys
from core.store.redis import RedisClient

MINUTE = 60
HOUR = 3600
TRIES_PER_HOUR = 30
"""Wrong passwords from all addresses together."""

EVERYWHERE = "all"


@dataclass(frozen=True, slots=True)
class LoginLimit:
    """Counts tries before the password is looked at, so that parallel guesses count too."""

    redis: RedisClient
    per_minute: int

    async def spend(self, address: str) -> None:
        """Take one try. Raises RateLimited, with the seconds until the next one."""
        await self._spend(_bucket(address), self.per_minute, MINUTE)
        await self._spend(EVERYWHERE, TRIES_PER_HOUR, HOUR)

    async def refund(self, address: str) -> None:
        """The password was right: forget this address, and give the common try back."""
        common = keys.login_attempts(EVERYWHERE)
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.delete(keys.login_attempts(_bucket(address)))
            pipe.set(common, 0, ex=HOUR, nx=True)
            pipe.decr(common)
            await pipe.execute()

    async def _spend(self, bucket: str, limit: int, window: int) -> None:
        name = keys.login_attempts(bucket)
        async with self.redis.pipeline(transaction=True) as pipe:
            # The window starts with the first try and is never extended: EXPIRE NX needs Redis 7.
            pipe.set(name, 0, ex=window, nx=True)
            pipe.incr(name)
            pipe.ttl(name)
            _, tries, left = await pipe.execute()
        if left > window:
            # The clock of Redis has gone back; nobody must wait for it to come here again.
            await self.redis.expire(name, window)
            left = window
        if tries > limit:
            wait = max(1, left)
            raise RateLimited(f"too many wrong passwords; try again in {wait} s", retry_after=wait)


def _bucket(address: str) -> str:
    """One per IPv4 address; one per IPv6 /64, which is what a single household or server has."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "local"
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False).network_address)
