"""What the saver's scripts return, made into LangGraph's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from langgraph.checkpoint.base import DeltaChannelHistory
from langgraph.checkpoint.serde.base import SerializerProtocol

from graph.checkpoint.codec import Opened, open_record, read, read_writes

Ancestor: TypeAlias = "tuple[bytes, list[bytes | None], bytes | None, list[Any]]"
"""Id, batches of writes, record (only if it holds a wanted value), channel and blob alternating."""

Row: TypeAlias = "tuple[bytes, bytes, list[bytes | None], list[bytes | None], list[Ancestor]]"
"""A checkpoint: id, record, blobs, batches of writes, span of its delta channels."""


def open_row(serde: SerializerProtocol, row: Row) -> Opened:
    """The checkpoint of a row with all its values. Raises one of ``UNREADABLE``."""
    opened = open_record(serde, row[0].decode(), row[1])
    values = opened.checkpoint["channel_values"]
    for channel, blob in zip(opened.blob_channels, row[2], strict=True):
        # A value that no checkpoint brought as new was never stored; LangGraph's own savers agree.
        if blob is not None:
            values[channel] = read(serde, blob)
    return opened


def read_history(
    serde: SerializerProtocol, span: Sequence[Ancestor], channels: Sequence[str]
) -> dict[str, DeltaChannelHistory]:
    """Per channel its nearest stored value and the writes since. Raises one of ``UNREADABLE``.

    The writes of the ancestor that stores the value count: they were made on top of it.
    """
    history: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in channels}
    remaining = set(channels)
    steps: list[tuple[set[str], list[bytes | None]]] = []
    for ancestor in span:
        steps.append((set(remaining), ancestor[1]))
        for channel, value in read_seeds(serde, ancestor):
            if channel in remaining:
                history[channel]["seed"] = value
                remaining.discard(channel)
    for active, batches in reversed(steps):
        for write in read_writes(serde, batches, channels=active):
            history[write[1]]["writes"].append(write)
    return history


def read_seeds(serde: SerializerProtocol, ancestor: Ancestor) -> list[tuple[str, Any]]:
    """The channels whose values the ancestor stores, and those values."""
    checkpoint_id, _, record, seeds = ancestor
    inside = open_record(serde, checkpoint_id.decode(), record).checkpoint if record else None
    found: list[tuple[str, Any]] = []
    for n in range(0, len(seeds), 2):
        channel = seeds[n].decode()
        if seeds[n + 1] is not None:
            found.append((channel, read(serde, seeds[n + 1])))
        elif inside and channel in inside["channel_values"]:
            found.append((channel, inside["channel_values"][channel]))
    return found
