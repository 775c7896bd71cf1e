"""Writes a backup while everything runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.backup.file import Writer, is_backup
from core.backup.fingerprint import Content
from core.backup.snapshot import Progress, Snapshot, silent
from core.errors import ConfigError, Conflict
from core.home.files import new_file
from core.store import keys
from core.store.client import Store
from core.store.migrations import stored_format

DISTRIBUTION = "modular-assistant"
PLAIN = frozenset((keys.installation(),))
"""What a store holds that nobody has used yet."""

NOTHING = "there is nothing to back up here; does ASSISTANT_HOME or REDIS_URL name the right place?"


@dataclass(frozen=True, slots=True)
class Totals:
    """What a backup holds. ``content`` and ``lasting`` are fingerprints
    (core/backup/fingerprint.py)."""

    keys: int
    threads: int
    users: int
    waiting: int
    content: str
    lasting: str


@dataclass(frozen=True, slots=True)
class Written:
    """A backup that is on disk."""

    path: Path
    bytes: int
    created_at: str
    totals: Totals


def product_version() -> str:
    """Our version, "unknown" in a checkout that was never installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


async def write_backup(
    store: Store, path: Path, *, key: bytes, progress: Progress = silent
) -> Written:
    """Write everything to a new file, or over an older backup. ``key`` signs it.

    Raises FileNotWritten, Conflict, ConfigError when there is nothing or it cannot be read
    completely, StoreError.
    """
    check_target(path)
    await check_saver(store)
    found = await store.retry(lambda: stored_format(store.redis))
    if found is None:
        raise ConfigError(NOTHING)
    created_at = datetime.now(UTC).isoformat(timespec="seconds")
    header = {"state_format": found, "product": product_version(), "created_at": created_at}
    content, snapshot, seen = Content(), Snapshot(store, progress), set[str]()
    with new_file(path) as file:
        writer = Writer(file, header, key=key)
        async for found_key in snapshot.read():
            content.add(found_key)
            writer.key(found_key)
            if len(seen) <= len(PLAIN):
                seen.add(found_key.text)
        if seen <= PLAIN:
            raise ConfigError(NOTHING)
        totals = totals_of(content, snapshot)
        writer.end(asdict(totals))
    return Written(path, writer.size, created_at, totals)


def check_target(path: Path) -> None:
    """Refuse to write over anything but an older backup. Raises Conflict."""
    if path.exists() and not is_backup(path):
        raise Conflict(f"{path} exists and is no backup; choose another name")


def totals_of(content: Content, snapshot: Snapshot) -> Totals:
    """What was read."""
    return Totals(
        content.keys,
        snapshot.thread_count,
        snapshot.user_count,
        snapshot.waiting_count,
        content.whole,
        content.lasting,
    )


async def check_saver(store: Store) -> None:
    """Refuse a store whose checkpoints are kept by another saver, in keys of its own."""
    chosen = await store.retry(lambda: store.redis.hget(keys.installation(), "checkpointer"))
    if chosen not in (None, b"core"):
        raise ConfigError(
            f"with store.checkpointer = {chosen.decode()} a backup would miss what the graph "
            "remembers; back the Redis server up with its own means (BGSAVE)"
        )
