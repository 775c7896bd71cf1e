"""How a checkpoint is written in Redis: compact, and exact when read again.

A record is laid out as ``lua/_prelude.lua`` says. Channel names, node names and versions occur many
times in a checkpoint, so each stands once in ``words`` and is a number elsewhere. A value that is
one small scalar stays inside the record; all others are blobs, stored once per channel version.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import ormsgpack
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    PendingWrite,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import (
    _DeltaSnapshot,  # pyright: ignore[reportPrivateUsage] - LangGraph tells savers to write it
)

from graph.checkpoint.rows import pack, unpack

EMPTY, BLOB, INSIDE = 0, 1, 2
"""What a record says about a channel's value."""

KINDS = ("null", "bytes", "bytearray", "msgpack", "messages", "window")
"""Types that the serializer names, no pickle, and ours: a list of messages, and a delta channel's
value that is one (graph/checkpoint/rows.py). The position is stored, so only ever append."""

COMPRESSED = 0x80
COMPRESS_FROM, COMPRESS_TO = 4096, 256 * 1024
"""Bytes between which a value is compressed: fewer save little, more would hold up the loop."""

HEAD_AT = 4
"""Bytes of a record before its head: the length of the head."""

SMALL_TEXT = 64
INT_LOW, INT_HIGH = -(2**63), 2**64
"""The range of integers in msgpack."""

VERSION_MARK = "\0"
"""First character of a version that is no string; our own versions are strings."""

DELTA_COUNTERS = "counters_since_delta_snapshot"
OPTIONS = ormsgpack.OPT_NON_STR_KEYS | ormsgpack.OPT_REPLACE_SURROGATES

UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, zlib.error)
"""What reading damaged data can raise."""

Version: TypeAlias = "str | int | float"
Versions: TypeAlias = "Mapping[str, Version]"


@dataclass(frozen=True, slots=True)
class Record:
    """A packed checkpoint and the blobs to store beside it: name, value, name, value, …"""

    data: bytes
    blobs: list[str | bytes]


@dataclass(frozen=True, slots=True)
class Opened:
    """A record read again; ``blob_channels`` are those with a value in a blob, in order."""

    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    parent: str
    delta_channels: tuple[str, ...]
    blob_channels: tuple[str, ...]


class Words(dict[str, int]):
    """Numbers for names, in order of first use."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number

    def version(self, version: Version) -> int:
        """The number of a version."""
        return self[version_word(version)]

    def pairs(self, versions: Versions) -> list[int]:
        """Channel and version, alternating."""
        out: list[int] = []
        for channel, version in versions.items():
            out += (self[channel], self.version(version))
        return out


def version_word(version: Version) -> str:
    """The version as a word of the record."""
    return version if isinstance(version, str) else f"{VERSION_MARK}{version!r}"


def read_version(word: str) -> Version:
    """The version that a word stands for. Raises ValueError."""
    if not word.startswith(VERSION_MARK):
        return word
    text = word[1:]
    return int(text) if text.lstrip("-").isdigit() else float(text)


def is_small(value: object) -> bool:
    """Whether a channel's value is a scalar that costs less inside the record than as a blob."""
    kind = type(value)
    if kind is str:
        return len(cast("str", value)) <= SMALL_TEXT
    if kind is int:
        return INT_LOW <= cast("int", value) < INT_HIGH
    return value is None or kind is bool or kind is float


def dump(serde: SerializerProtocol, value: object) -> bytes:
    """A value as bytes: one byte of type, then what the serializer made of it."""
    kind, data = _messages(value) or serde.dumps_typed(value)
    tag = KINDS.index(kind)
    if COMPRESS_FROM <= len(data) <= COMPRESS_TO:
        smaller = zlib.compress(data, 1)
        if len(smaller) < len(data):
            tag, data = tag | COMPRESSED, smaller
    return bytes((tag,)) + data


def _messages(value: object) -> tuple[str, bytes] | None:
    kind, inside = "messages", value
    if type(value) is _DeltaSnapshot:
        kind, inside = "window", cast("Any", value).value
    data = pack(cast("list[Any]", inside)) if type(inside) is list and inside else None
    return None if data is None else (kind, data)


def read(serde: SerializerProtocol, stored: bytes) -> Any:
    """The value that ``dump`` wrote. Raises one of ``UNREADABLE``."""
    tag, data = stored[0], stored[1:]
    if tag & COMPRESSED:
        tag, data = tag & ~COMPRESSED, zlib.decompress(data)
    match KINDS[tag]:
        case "messages":
            return unpack(data)
        case "window":
            return _DeltaSnapshot(unpack(data))
        case kind:
            return serde.loads_typed((kind, data))


def pack_record(
    serde: SerializerProtocol,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    *,
    parent: str,
    new_versions: Versions,
) -> Record:
    """Pack a checkpoint; only values of channels in ``new_versions`` become new blobs."""
    rest = cast("dict[str, Any]", checkpoint.copy())
    del rest["id"]
    values = cast("dict[str, Any]", rest.pop("channel_values"))
    versions = cast("Versions", rest.pop("channel_versions"))
    words, channels = Words(), list[int]()
    inside, blobs = list[Any](), list[str | bytes]()
    for channel, version in versions.items():
        state = EMPTY
        if channel in values:
            value = values[channel]
            state = INSIDE if is_small(value) else BLOB
            if state == INSIDE:
                inside.append(value)
            elif channel in new_versions:
                blobs += (f"{channel}\0{version_word(version)}", dump(serde, value))
        channels += (words[channel], words.version(version), state)
    counters = metadata.get(DELTA_COUNTERS) or {}
    delta = [words[name] for name in counters if name in versions and name not in values]
    seen = cast("dict[str, Versions]", rest.pop("versions_seen"))
    seen_words = [[words[node], *words.pairs(read)] for node, read in seen.items()]
    updated = cast("Sequence[str] | None", rest.pop("updated_channels", None))
    updated_words = None if updated is None else [words[name] for name in updated]
    body = dump(serde, (rest, seen_words, updated_words, inside, metadata))
    head = ormsgpack.packb((parent, list(words), channels, delta), option=OPTIONS)
    return Record(len(head).to_bytes(HEAD_AT) + head + body, blobs)


def open_record(serde: SerializerProtocol, checkpoint_id: str, data: bytes) -> Opened:
    """Read a record. Raises one of ``UNREADABLE``."""
    body_at = HEAD_AT + int.from_bytes(data[:HEAD_AT])
    parent, words, channels, delta = ormsgpack.unpackb(data[HEAD_AT:body_at])
    rest, seen, updated, inside, metadata = read(serde, data[body_at:])
    values, versions = dict[str, Any](), dict[str, Version]()
    blob_channels, scalars = list[str](), iter(inside)
    for n in range(0, len(channels), 3):
        channel, state = words[channels[n]], channels[n + 2]
        versions[channel] = read_version(words[channels[n + 1]])
        if state == BLOB:
            blob_channels.append(channel)
        elif state == INSIDE:
            values[channel] = next(scalars)
    checkpoint = {
        **rest,
        "id": checkpoint_id,
        "channel_values": values,
        "channel_versions": versions,
        "versions_seen": {words[row[0]]: read_pairs(words, row) for row in seen},
        "updated_channels": None if updated is None else [words[n] for n in updated],
    }
    deltas = tuple(words[n] for n in delta)
    return Opened(cast("Checkpoint", checkpoint), metadata, parent, deltas, tuple(blob_channels))


def read_pairs(words: Sequence[str], row: Sequence[int]) -> dict[str, Version]:
    """The versions that a node has seen: its row without the node."""
    return {words[row[n]]: read_version(words[row[n + 1]]) for n in range(1, len(row), 2)}


def pack_writes(
    serde: SerializerProtocol, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
) -> bytes:
    """One batch of writes of a task. Scalars stand as they are, other values as bytes."""
    cells: list[Any] = []
    for position, (channel, value) in enumerate(writes):
        cell = value if is_small(value) else dump(serde, value)
        cells += (WRITES_IDX_MAP.get(channel, position), channel, cell)
    return ormsgpack.packb((task_id, task_path, cells), option=OPTIONS)


def read_writes(
    serde: SerializerProtocol,
    batches: Sequence[bytes | None],
    *,
    channels: set[str] | None = None,
) -> list[PendingWrite]:
    """The writes of a checkpoint in the order in which a superstep applies them.

    The first write of a task under an index wins, the last one under a special (negative) index.
    Only writes to ``channels`` if given. Raises one of ``UNREADABLE``.
    """
    merged: dict[tuple[str, int], tuple[str, str, Any]] = {}
    for batch in batches:
        if batch is None:
            raise ValueError("a batch of writes is missing")
        task_id, task_path, cells = ormsgpack.unpackb(batch)
        for n in range(0, len(cells), 3):
            key = (task_id, cells[n])
            if cells[n] < 0 or key not in merged:
                merged[key] = (task_path, cells[n + 1], cells[n + 2])
    ordered = sorted(merged.items(), key=lambda item: writes_sort_key(item[1][0], *item[0]))
    return [
        (task_id, channel, read(serde, cell) if isinstance(cell, bytes) else cell)
        for (task_id, _), (_, channel, cell) in ordered
        if channels is None or channel in channels
    ]
