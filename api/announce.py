"""Tells where the web server is: to people on the console, to our own commands in a small file."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, cast

import orjson

from core.accounts.setup_token import ensure_setup_token
from core.services import Services
from core.settings.groups import Settings
from core.store import keys

WAIT_FOR_WORKER = 20.0
ADDRESS_FILE = "run/web.json"


async def announce(services: Services, port: int) -> None:
    """Print the address once a worker is there too, with the set-up link while it is needed."""
    settings = services.settings.current
    write_address(settings, port)
    ready = await _worker_is_there(services)
    url = base_url(settings, port)
    token = await ensure_setup_token(services.store.redis, settings.home)
    lines = (
        [f"The assistant is ready: {url}"]
        if ready
        else [f"The web page is up, without a worker yet: {url}"]
    )
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


def write_address(settings: Settings, port: int) -> None:
    """Leave host and port where our own commands look for them."""
    path = settings.home / ADDRESS_FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    data = {
        "host": settings.server.host,
        "port": port,
        "pid": os.getpid(),
        "url": base_url(settings, port),
    }
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_bytes(orjson.dumps(data))
    draft.replace(path)  # a reader never finds half of it


def read_address(home: Path) -> str:
    """URL of the web server of a home, "" when none is written down."""
    try:
        data: Any = orjson.loads((home / ADDRESS_FILE).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return ""
    return str(cast("dict[str, Any]", data).get("url") or "") if isinstance(data, dict) else ""


def forget_address(home: Path) -> None:
    """The server has stopped."""
    (home / ADDRESS_FILE).unlink(missing_ok=True)
