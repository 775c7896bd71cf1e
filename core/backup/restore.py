"""Puts a backup into an empty store: all of it, or the store says that it is not whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.exceptions import RedisError

from core.accounts.orphans import drop_orphans
from core.backup.file import Backup, BackupUnusable, parts, size_of
from core.backup.fingerprint import Content
from core.backup.snapshot import Key, Progress, Snapshot, scan, silent
from core.errors import AssistantError, Conflict
from core.home.secrets import KEY_FILE
from core.store import keys
from core.store.client import Store
from core.store.errors import translate
from core.store.exclusive import exclusive, running_processes
from core.store.migrations import FORMAT_FIELD
from core.store.opening import RESTORING_FIELD, STATE_FORMAT
from core.store.redis import Pipeline, RedisClient

EMPTY_FIELD = "restoring_into_empty"
"""Of the installation: the store was found empty, so what is in it came from the restore."""

BATCH_COMMANDS = 200
BATCH_BYTES = 1 << 20


class RestoreIncomplete(AssistantError):
    """The store does not hold what the backup held."""

    code = "restore_incomplete"


@dataclass(frozen=True, slots=True)
class Restored:
    """What is in the store now. ``expired``: keys whose time had come since the backup;
    ``refused``: sessions, set-up links and the like, which no backup of ours holds, and API keys
    that no list names."""

    keys: int
    threads: int
    users: int
    waiting: int
    expired: int
    refused: int


def check_format(backup: Backup) -> None:
    """Refuse what a newer version wrote. Raises BackupUnusable."""
    found = backup.header["state_format"]
    if found > STATE_FORMAT:
        raise BackupUnusable(
            f"{backup.path} holds state of format {found}, this version knows {STATE_FORMAT}; "
            f"restore it with version {backup.header.get('product', '?')} or newer"
        )


def check_signature(backup: Backup, *, unsigned: bool) -> None:
    """Refuse a file that this installation did not sign, unless it is wanted all the same; those of
    the format without signatures are taken. Raises BackupUnusable."""
    if backup.signature == "foreign" and not unsigned:
        raise BackupUnusable(
            f"{backup.path} was not signed with {KEY_FILE} of this data folder: it comes from "
            f"another installation, or was changed. Copy {KEY_FILE} of the installation that made "
            "it into the data folder first; if that is lost and you trust the file, use --unsigned"
        )


async def restore(store: Store, backup: Backup, *, progress: Progress = silent) -> Restored:
    """Fill an empty store. A restore that was interrupted is begun anew.

    Raises Conflict when the store is in use or not empty, BackupUnusable, RestoreIncomplete,
    StoreError; after the latter two no process starts on the store until a restore succeeds.
    """
    check_format(backup)
    redis = store.redis
    try:
        async with exclusive(redis) as ours:
            if not ours:
                raise Conflict("another restore or upgrade works on this store; wait for its end")
            await _prepare(store)
            restored = await _fill(store, backup, progress)
            told = {FORMAT_FIELD.encode(): str(backup.header["state_format"]).encode()}
            await _finish(redis, told | restored.installation)
    except RedisError as error:
        raise translate(error) from error
    return restored.report


# ---- before


async def _prepare(store: Store) -> None:
    """Mark the store, then look whether it may be filled; from the mark on nobody starts on it."""
    name, now = keys.installation(), datetime.now(UTC).isoformat(timespec="seconds")
    await store.redis.hsetnx(name, RESTORING_FIELD, now)
    # The mark alone proves nothing: a restore may have died before it looked.
    if await store.redis.hexists(name, EMPTY_FIELD):
        await _clear(store)
        return
    try:
        if await running_processes(store.redis):
            raise Conflict(
                "the assistant runs on this Redis server; stop all of its processes first"
            )
        if await _is_used(store):
            raise Conflict(
                "there is data here already, and a restore never overwrites any; restore on an "
                "empty ASSISTANT_HOME, or on an empty database in REDIS_URL"
            )
    except AssistantError:
        await store.redis.hdel(name, RESTORING_FIELD)
        raise
    await store.redis.hset(name, EMPTY_FIELD, "1")


async def _is_used(store: Store) -> bool:
    """Whether there is more than a first start leaves behind."""
    async for batch in scan(store, keys.everything()):
        if any(map(_is_data, batch)):
            return True
    return False


def _is_data(name: str) -> bool:
    left_by_a_start = name == keys.installation() or name.startswith(keys.capabilities(""))
    return not left_by_a_start and not keys.is_transient(name)


async def _clear(store: Store) -> None:
    """Remove what an interrupted restore had written."""
    kept = {keys.installation(), keys.state_lock()}
    async for batch in scan(store, keys.everything()):
        if names := [name for name in batch if name not in kept]:
            await store.redis.unlink(*names)


# ---- fill


@dataclass(frozen=True, slots=True)
class _Filled:
    report: Restored
    installation: dict[bytes, bytes]


async def _fill(store: Store, backup: Backup, progress: Progress) -> _Filled:
    """Write all keys but the installation's, which ends the restore; then compare."""
    written, expired, now = Content(), 0, int(time.time() * 1000)
    installation: dict[bytes, bytes] = {}
    total, refused = int(backup.totals["keys"]), 0
    for batch in _batches(parts(backup)):
        async with store.redis.pipeline(transaction=False) as pipe:
            for part in batch:
                if part.expires_at is not None and part.expires_at <= now:
                    expired += part.start == 0
                elif keys.is_transient(part.text):
                    refused += part.start == 0
                elif part.text == keys.installation():
                    installation = part.fields()
                else:
                    _write(pipe, part)
                    if part.text != keys.pending():
                        written.add(part)
            await pipe.execute()
        progress(written.keys + expired, total)
    snapshot = await _compare(store, written)
    orphans = await drop_orphans(store.redis)
    report = Restored(
        total - expired - refused - orphans,
        snapshot.thread_count,
        snapshot.user_count,
        snapshot.waiting_count,
        expired,
        refused + orphans,
    )
    return _Filled(report, installation)


async def _compare(store: Store, written: Content) -> Snapshot:
    """Read everything back. Only what lasts is compared: the rest may have expired meanwhile, and
    the list of conversations with work names some of that."""
    found, snapshot = Content(), Snapshot(store)
    async for key in snapshot.read():
        if key.text not in (keys.installation(), keys.pending()):
            found.add(key)
    if found.lasting != written.lasting:
        raise RestoreIncomplete(
            "the store does not hold what the backup holds; does something else write to it? "
            "Run `assistant restore FILE` again"
        )
    return snapshot


async def _finish(redis: RedisClient, installation: dict[bytes, bytes]) -> None:
    """The installation's own fields, and the mark taken away, at once."""
    name = keys.installation()
    marks = {RESTORING_FIELD.encode(), EMPTY_FIELD.encode()}
    installation = {field: installation[field] for field in installation.keys() - marks}
    async with redis.pipeline(transaction=True) as pipe:
        pipe.delete(name)
        pipe.hset(name, mapping=installation)
        await pipe.execute()


def _batches(all_parts: Iterator[Key]) -> Iterator[list[Key]]:
    batch: list[Key] = []
    size = 0
    for part in all_parts:
        batch.append(part)
        size += sum(map(size_of, part.items))
        if len(batch) >= BATCH_COMMANDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(pipe: Pipeline, part: Key) -> None:
    """The commands that add a part to its key."""
    name, items = part.name, part.items
    match part.type:
        case "string":
            pipe.set(name, items[0])
        case "hash":
            pipe.execute_command("HSET", name, *items)
        case "list":
            pipe.rpush(name, *items)
        case "set":
            pipe.sadd(name, *items)
        case "zset":
            scores = zip(items[1::2], items[::2], strict=True)
            pipe.execute_command("ZADD", name, *(word for pair in scores for word in pair))
        case _:
            _write_stream(pipe, part)
    if part.expires_at is not None:
        pipe.pexpireat(name, part.expires_at)


def _write_stream(pipe: Pipeline, part: Key) -> None:
    """Entries with their ids, and the last id ever given, so that no id comes twice."""
    if not part.items:
        # An empty stream has no command of its own.
        pipe.xgroup_create(part.name, "none", mkstream=True)
        pipe.xgroup_destroy(part.name, "none")
    for entry_id, fields in part.items:
        pipe.execute_command("XADD", part.name, entry_id, *fields)
    pipe.execute_command("XSETID", part.name, part.last_id or b"0-0")
