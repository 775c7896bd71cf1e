"""Tells where the web server is: to people on the console, to our own processes in a small file."""

from __future__ import annotations

import asyncio
import time

from core.accounts.setup_token import ensure_setup_token
from core.home.web_address import write_address
from core.services import Services
from core.settings.groups import Settings
from core.store import keys

WAIT_FOR_WORKER = 20.0


async def announce(services: Services, port: int) -> None:
    """Print the address once a worker is there too, with the set-up link while it is needed."""
    settings = services.settings.current
    url = base_url(settings, port)
    write_address(settings.home, host=settings.server.host, port=port, url=url)
    ready = await _worker_is_there(services)
    token = await ensure_setup_token(services.store.redis, settings.home)
    lines = (
        [f"The assistant is ready: {url}"]
        if ready
        else [f"The web page is up, without a worker yet: {url}"]
    )
    if settings.server.port not in (0, port):
        lines.insert(0, f"Another program has port {settings.server.port}; this is port {port}.")
    if token is not None:
        lines += [
            "Set a password first, with this link (good for one use, 24 hours):",
            f"  {url}/setup#{token}",
        ]
    print("\n".join(lines), flush=True)


async def _worker_is_there(services: Services) -> bool:
    redis, end = services.store.redis, time.monotonic() + WAIT_FOR_WORKER
    while time.monotonic() < end:
        count = await services.store.retry(
            lambda: redis.zcount(keys.workers(), (time.time() - 12) * 1000, "+inf")
        )
        if count:
            return True
        await asyncio.sleep(0.05)
    return False


def base_url(settings: Settings, port: int) -> str:
    """The address to open in a browser on this machine."""
    host = settings.server.host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
