"""Finished messages, as the transcript of a conversation stores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from core.events import Json

COMMON: Mapping[str, Json] = {"tools": [], "status": "completed"}
"""What most messages of a transcript have in common: not stored with each."""


def pack_record(record: Mapping[str, Any]) -> bytes:
    """A message as the transcript stores it: without what nearly all of them have in common."""
    usual = {key for key, value in COMMON.items() if record.get(key) == value}
    short = {key: value for key, value in record.items() if key not in usual}
    return orjson.dumps(short, default=str)


def read_record(row: bytes) -> dict[str, Json]:
    """A stored message, whole again."""
    return {**COMMON, "tools": [], **cast("dict[str, Json]", orjson.loads(row))}


def collapse(records: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Of several answers to one message (tried again) only the last one."""
    newest = {r["answer_to"]: i for i, r in enumerate(records) if r["role"] == "assistant"}
    return [
        r for i, r in enumerate(records) if r["role"] != "assistant" or newest[r["answer_to"]] == i
    ]


def queued(row: tuple[bytes, dict[bytes, bytes]]) -> dict[str, Json]:
    _, fields = row
    data = orjson.loads(fields[b"p"])
    return {
        "id": fields[b"i"].decode(),
        "role": "user",
        "text": data["x"],
        "tools": [],
        "created_at": data["at"],
        "status": "queued",
        "run_id": fields[b"r"].decode(),
        "retry_of": data.get("r"),
    }
