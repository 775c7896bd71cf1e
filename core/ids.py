"""Ids of conversations, messages and runs."""

from __future__ import annotations

import base64
import hashlib
import secrets

from core.errors import NotFound


def new_id(kind: str) -> str:
    """A random id like ``t_k3jx…`` with 80 bits."""
    return f"{kind}_{base64.b32encode(secrets.token_bytes(10)).decode().lower()}"


def run_id_for(thread_id: str, message_id: str) -> str:
    """The run of a message. It names its thread, so that a run alone can be found and cancelled."""
    digest = hashlib.sha256(f"{thread_id}\0{message_id}".encode("utf-8", "surrogatepass")).digest()
    return f"{thread_id}.{base64.b32encode(digest[:10]).decode().lower()}"


def thread_of_run(run_id: str) -> str:
    """The thread that a run belongs to. Raises NotFound for what is no run id."""
    thread_id, dot, digest = run_id.partition(".")
    if not dot or not thread_id or not digest:
        raise NotFound(f"there is no run {run_id!r}")
    return thread_id
