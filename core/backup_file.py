"""The container of a backup; docs/backup-format.md describes it.

One line of JSON (the header), a gzip stream of records (length, 4 bytes, and a msgpack array), and
the SHA-256 of all that. Nothing in it depends on the kind or version of the server.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson
import ormsgpack

from core import keys
from core.errors import AssistantError
from core.snapshot import Key

FORMAT = 1
MAGIC = b'{"assistant_backup":'
MAX_HEADER = 4096
CHECKSUM = 32
LENGTH = struct.Struct(">I")
PART_ITEMS = 2000
PART_BYTES = 1 << 20
"""A key with more goes into several records, so that nobody needs all of it in memory."""

MAX_RECORD = 1 << 29
"""Bytes; the longest value that Redis itself takes."""

CHUNK = 1 << 20
GZIP = 31
"""zlib's name for the gzip format."""

KEY, END = "k", "e"


class BackupUnusable(AssistantError):
    """The file is no backup, or not a whole one, or of a newer format."""

    code = "backup_unusable"
    status = 422


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup whose every byte was checked."""

    path: Path
    header: dict[str, Any]
    totals: dict[str, Any]


# ---- write


class Writer:
    """Writes header and records, and the checksum at the end."""

    def __init__(self, file: IO[bytes], header: Mapping[str, Any]) -> None:
        self._file = file
        self._checksum = hashlib.sha256()
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, GZIP)
        self.size = 0
        self._put(orjson.dumps({"assistant_backup": FORMAT, **header}) + b"\n")

    def key(self, key: Key) -> None:
        """Add a key."""
        for start, items in _parts(key):
            self._record([KEY, key.name, key.type, key.expires_at, key.last_id, start, items])

    def end(self, totals: Mapping[str, Any]) -> None:
        """Nothing comes after this."""
        self._record([END, dict(totals)])
        self._put(self._gzip.flush())
        self._file.write(self._checksum.digest())
        self.size += CHECKSUM

    def _record(fields: list[Any]) -> Key | dict[str, Any]:
    match fields:
        case ["k", name, kind, expires_at, last_id, start, items]:
            key = Key(name, kind, expires_at, items, last_id, start)
            # Nothing but our own state: pydocket's keys, for one, hold what runs as code when read.
            if not _sound(key) or not keys.is_ours(key.text):
                raise ValueError("no key of ours")
            return key
        case ["e", totals]:
            return dict[str, Any](totals)
        case _:
            raise ValueError("an unknown kind of record")


def _sound(key: Key) -> bool:
    """Whether everything has the type that it must have."""
    about = (
        (key.name, bytes),
        (key.expires_at, int | None),
        (key.last_id, bytes if key.type == "stream" else None | bytes),
        (key.start, int),
        (key.items, list),
    )
    return all(isinstance(value, kind) for value, kind in about) and _fits(key.type, key.items)


def _fits(kind: str, items: list[Any]) -> bool:
    """Whether the items have the shape of the type."""
    match kind:
        case "string":
            return len(items) == 1 and isinstance(items[0], bytes)
        case "hash":
            return len(items) % 2 == 0 and all(isinstance(item, bytes) for item in items)
        case "zset":
            pairs = zip(items[::2], items[1::2], strict=True)
            return all(isinstance(a, bytes) and isinstance(b, float) for a, b in pairs)
        case "list" | "set":
            return all(isinstance(item, bytes) for item in items)
        case "stream":
            return all(map(_is_entry, items))
        case _:
            return False


def _is_entry(item: Any) -> bool:
    match item:
        case [bytes(), fields]:
            return isinstance(fields, list) and _fits("hash", cast("list[Any]", fields))
        case _:
            return False


def _damaged(path: Path) -> BackupUnusable:
    return BackupUnusable(f"{path} is damaged or cut short; use another copy of it")
