"""Where the web server of a home listens, in a small file for our own commands and processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import orjson

ADDRESS_FILE = "run/web.json"


def write_address(home: Path, *, host: str, port: int, url: str) -> None:
    """Leave host and port where our own commands look for them."""
    path = home / ADDRESS_FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_bytes(orjson.dumps({"host": host, "port": port, "pid": os.getpid(), "url": url}))
    draft.replace(path)  # a reader never finds half of it


def read_address(home: Path) -> str:
    """URL of the web server of a home, "" when none is written down."""
    return str(_read(home).get("url") or "")


def read_port(home: Path) -> int | None:
    """Port of the web server of a home, None when none is written down."""
    port: Any = _read(home).get("port")
    return port if isinstance(port, int) else None


def forget_address(home: Path) -> None:
    """The server has stopped."""
    (home / ADDRESS_FILE).unlink(missing_ok=True)


def _read(home: Path) -> dict[str, Any]:
    try:
        data: Any = orjson.loads((home / ADDRESS_FILE).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}
