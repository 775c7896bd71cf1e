"""The container of a backup; docs/backup-format.md describes it.

One line of JSON (the header), a gzip stream of records (length, 4 bytes, and a msgpack array), the
SHA-256 of all that, and a signature. Nothing in it depends on the kind or version of the server.
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

from core.backup.bounds import MAX_RECORD, check_bounds
from core.backup.signature import SIZE as SIGNATURE
from core.backup.signature import Signature, Signer
from core.backup.snapshot import Key
from core.errors import AssistantError
from core.store import keys
from core.store.migrations import FORMAT_FIELD

FORMAT = 2
UNSIGNED_FORMAT = 1
MAGIC = b'{"assistant_backup":'
MAX_HEADER = 4096
CHECKSUM = 32
LENGTH = struct.Struct(">I")
PART_ITEMS = 2000
PART_BYTES = 1 << 20
"""A key with more goes into several records, so that a restore needs little memory."""

CHUNK = 1 << 20
GZIP = 31
"""zlib's name for the gzip format."""

KEY, END = "k", "e"

SHOWN = 64
"""Characters of a header's text that are shown."""


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
    signature: Signature


# ---- write


class Writer:
    """Writes header and records, checksum and signature at the end."""

    def __init__(self, file: IO[bytes], header: Mapping[str, Any], *, key: bytes) -> None:
        self._file = file
        self._checksum = hashlib.sha256()
        self._signer = Signer(key)
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, GZIP)
        self.size = 0
        self._put(orjson.dumps({"assistant_backup": FORMAT, **header}) + b"\n")

    def key(self, key: Key) -> None:
        """Add a key. Raises BackupUnusable for one that a restore would refuse."""
        for start, items in _cut(key):
            self._record([KEY, key.name, key.type, key.expires_at, key.last_id, start, items])

    def end(self, totals: Mapping[str, Any]) -> None:
        """Nothing comes after this."""
        self._record([END, dict(totals)])
        self._put(self._gzip.flush())
        self._put(self._checksum.digest())
        self._file.write(self._signer.digest())
        self.size += SIGNATURE

    def _record(self, fields: list[Any]) -> None:
        body = ormsgpack.packb(fields)
        if len(body) > MAX_RECORD:
            raise BackupUnusable(f"an item of {fields[1]!r} is longer than a backup can hold")
        self._put(self._gzip.compress(LENGTH.pack(len(body)) + body))

    def _put(self, data: bytes) -> None:
        self._checksum.update(data)
        self._signer.update(data)
        self._file.write(data)
        self.size += len(data)


def _cut(key: Key) -> Iterator[tuple[int, list[Any]]]:
    """(start, items) of parts of about a MiB; one part even if there are no items."""
    start = size = 0
    for at, item in enumerate(key.items):
        # Never between a field and its value.
        if at % 2 == 0 and at > start and (at - start >= PART_ITEMS or size >= PART_BYTES):
            yield start, key.items[start:at]
            start, size = at, 0
        size += size_of(item)
    yield start, key.items[start:]


def size_of(item: Any) -> int:
    """About how many bytes an item of a key has."""
    if isinstance(item, bytes):
        return len(item)
    return sum(map(size_of, cast("list[Any]", item))) if isinstance(item, list) else 8


def is_backup(path: Path) -> bool:
    """Whether a file begins like one of ours."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


# ---- read


def check(path: Path, *, key: bytes | None) -> Backup:
    """Read the whole file once. ``key`` is that of the data folder, None if there is none yet.

    Raises BackupUnusable.
    """
    with _opened(path) as file:
        header = _header(file)
        if header["assistant_backup"] > FORMAT:
            raise BackupUnusable(
                f"{path} has backup format {header['assistant_backup']}, this version reads up to "
                f"{FORMAT}; restore it with version {header.get('product', '?')} or newer"
            )
        signature = _check_sum(file, path, signed=_signature_size(header), key=key)
        totals: dict[str, Any] | None = None
        count = 0
        for record in _records(file, path, header):
            if totals is not None:
                raise _damaged(path)
            if isinstance(record, Key):
                count += record.start == 0
            else:
                totals = record
        if totals is None or type(totals.get("keys")) is not int or count != totals["keys"]:
            raise _damaged(path)
    return Backup(path, header, totals, signature)


def parts(backup: Backup) -> Iterator[Key]:
    """All keys, long ones in several parts, in the order in which they were written."""
    with _opened(backup.path) as file:
        for record in _records(file, backup.path, _header(file)):
            if isinstance(record, Key):
                yield record


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise BackupUnusable(f"{path} cannot be read ({error.strerror})") from error


def _header(file: IO[bytes]) -> dict[str, Any]:
    """The header; the file stands at the first byte after it."""
    line = file.readline(MAX_HEADER)
    if not line.startswith(MAGIC):
        raise BackupUnusable(f"{file.name} is no backup of the assistant")
    try:
        header: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _damaged(Path(file.name)) from error
    for name in ("assistant_backup", "state_format"):
        if type(header.get(name)) is not int or header[name] < 1:
            raise _damaged(Path(file.name))
    return {name: _clean(value) for name, value in header.items()}


def _clean(value: object) -> object:
    """A value of the header, fit for a terminal."""
    if not isinstance(value, str):
        return value
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in value[:SHOWN])


def _signature_size(header: Mapping[str, Any]) -> int:
    return 0 if header["assistant_backup"] == UNSIGNED_FORMAT else SIGNATURE


def _check_sum(file: IO[bytes], path: Path, *, signed: int, key: bytes | None) -> Signature:
    """Compare checksum and signature; the file stands where it stood."""
    start, left = file.tell(), os.fstat(file.fileno()).st_size - CHECKSUM - signed
    file.seek(0)
    checksum, signer = hashlib.sha256(), Signer(key or b"")
    while left > 0 and (data := file.read(min(CHUNK, left))):
        checksum.update(data)
        signer.update(data)
        left -= len(data)
    if left or file.read(CHECKSUM) != checksum.digest():
        raise _damaged(path)
    signer.update(checksum.digest())
    signature = file.read()
    file.seek(start)
    if not signed:
        return "none"
    return "ours" if key is not None and signer.signed(signature) else "foreign"


def _records(
    file: IO[bytes], path: Path, header: Mapping[str, Any]
) -> Iterator[Key | dict[str, Any]]:
    """Keys, and the totals at the end."""
    try:
        for body in _bodies(_unzipped(file, CHECKSUM + _signature_size(header))):
            check_bounds(body)
            record = _understood(ormsgpack.unpackb(body))
            if isinstance(record, Key) and record.text == keys.installation():
                _check_installation(record, header)
            yield record
    except (zlib.error, struct.error, LookupError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def _check_installation(key: Key, header: Mapping[str, Any]) -> None:
    """The fields that decide whether a process starts on the store. Raises ValueError."""
    told = key.fields().get(FORMAT_FIELD.encode()) if key.type == "hash" else None
    if key.start or key.expires_at is not None or told != str(header["state_format"]).encode():
        raise ValueError("the installation is of another format than the header says")


def _unzipped(file: IO[bytes], rest: int) -> Iterator[bytes]:
    unzip = zlib.decompressobj(GZIP)
    while not unzip.eof:
        data = unzip.unconsumed_tail or file.read(CHUNK)
        if not data:
            raise ValueError("the stream ends early")
        # Bounded: a few bytes may say a gigabyte.
        yield unzip.decompress(data, CHUNK)
    if len(unzip.unused_data + file.read(rest + 1)) != rest:
        raise ValueError("there is more than one stream")


def _bodies(chunks: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        at = 0
        while len(held) - at >= LENGTH.size:
            (length,) = LENGTH.unpack_from(held, at)
            if length > MAX_RECORD:
                raise ValueError("a record is too long")
            end = at + LENGTH.size + length
            if len(held) < end:
                break
            yield bytes(held[at + LENGTH.size : end])
            at = end
        del held[:at]
    if held:
        raise ValueError("a record is cut")


def _understood(fields: list[Any]) -> Key | dict[str, Any]:
    """A record as a key or as the totals. Raises ValueError, TypeError."""
    if fields[0] == END:
        return dict[str, Any](fields[1])
    _, name, kind, expires_at, last_id, start, items = fields
    key = Key(name, kind, expires_at, items, last_id, start)
    # Nothing but our own state: what pydocket's keys ask for would be done.
    if fields[0] != KEY or not _sound(key) or not keys.is_ours(key.text):
        raise ValueError("no key of ours")
    return key


def _sound(key: Key) -> bool:
    """Whether everything has the type that it must have."""
    about = (
        (key.name, bytes),
        (key.expires_at, int | None),
        (key.last_id, bytes if key.type == "stream" else bytes | None),
        (key.start, int),
        (key.items, list),
    )
    sound = all(isinstance(value, kind) for value, kind in about)
    return sound and bool(key.name.decode()) and _fits(key.type, key.items)


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
    entry_id, fields = item
    return isinstance(entry_id, bytes) and isinstance(fields, list) and _fits("hash", fields)  # pyright: ignore[reportUnknownArgumentType] - that is what it looks into


def _damaged(path: Path) -> BackupUnusable:
    return BackupUnusable(f"{path} is damaged or cut short; use another copy of it")
