"""Finished messages, as the transcript of a conversation stores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from core.conversations.inbound import Message, decode
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


def queued(thread_id: str, row: tuple[bytes, dict[bytes, bytes]]) -> dict[str, Json] | None:
    """An accepted message as the transcript shows it until it is answered; None for what is no
    message of the user."""
    _, fields = row
    inbound = decode(fields[b"p"], message_id=fields[b"i"].decode(), thread_id=thread_id)
    if not isinstance(inbound, Message):
        return None
    return {
        "id": inbound.id,
        "role": "user",
        "text": inbound.text,
        "tools": [],
        "created_at": inbound.created_at.isoformat(),
        "status": "queued",
        "run_id": fields[b"r"].decode(),
        "retry_of": inbound.retry_of,
    }
