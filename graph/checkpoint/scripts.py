"""The saver's scripts: what each of them takes. Their texts are in ``lua/``.

``control`` is the thread's control hash, ``names`` the set of its namespaces, ``index``,
``records``, ``blobs`` and ``writes`` are the four keys of a namespace. Writes are fenced with
``epoch``; a ``ttl`` of "" means that the thread does not expire.
"""

from __future__ import annotations

from pathlib import Path

from core.store.calling import Args, Call, Declared, Key, Keys, Scripts, load, script

SCRIPT_FOLDER = Path(__file__).parent / "lua"

# ---- read


@script
def get(*, index: Key, records: Key, blobs: Key, writes: Key, id: str) -> Call:
    """A checkpoint with all that is needed to rebuild its state; ``id`` "" is the newest."""
    ...


@script
def page(*, index: Key, records: Key, blobs: Key, writes: Key, upper: str, most: int) -> Call:
    """Some checkpoints, newest first. ``upper``: end of the ids as in ZREVRANGEBYLEX."""
    ...


@script
def history(*, index: Key, records: Key, blobs: Key, writes: Key, id: str, channels: Args) -> Call:
    """What the ancestors of a checkpoint contributed to some channels."""
    ...


@script
def dump(*, names: Key) -> Call:
    """A thread's checkpoints at one moment."""
    ...


# ---- write


@script
def put(
    *,
    control: Key,
    names: Key,
    index: Key,
    records: Key,
    blobs: Key,
    epoch: str,
    ttl: str,
    ns: str,
    id: str,
    record: bytes,
    values: Args,
) -> Call:
    """Store a checkpoint. ``values``: blob name, blob, …"""
    ...


@script
def put_writes(
    *,
    control: Key,
    names: Key,
    writes: Key,
    epoch: str,
    ttl: str,
    ns: str,
    id: str,
    batch: bytes,
) -> Call:
    """Append a batch of writes to a checkpoint."""
    ...


@script
def put_all(*, keys: Keys, calls: Args) -> Call:
    """Several of the two above, all or none. ``calls``: of each its script, number of keys, number
    of arguments, arguments, …; ``keys``: theirs."""
    ...


# ---- keep and delete


@script
def keep(*, control: Key, names: Key, epoch: str, count: int, tasks_too: int) -> Call:
    """Keep the newest checkpoints of each namespace; with 1, drop finished tasks' namespaces."""
    ...


@script
def drop(*, control: Key, names: Key, epoch: str, ns: str, ids: Args) -> Call:
    """Delete some checkpoints of a namespace."""
    ...


@script
def delete(*, names: Key, aside: Key) -> Call:
    """Delete a thread's checkpoints, also those set aside."""
    ...


@script
def restore(*, control: Key, names: Key, epoch: str, ttl: str, dumps: Args) -> Call:
    """Replace a thread's checkpoints by those of ``dump``: kind, namespace, dump, …"""
    ...


@script
def quarantine(*, control: Key, names: Key, aside: Key, epoch: str, seconds: int) -> Call:
    """Set a thread's checkpoints aside for some seconds."""
    ...


SCRIPTS: tuple[Declared, ...] = (
    get,
    page,
    history,
    dump,
    put,
    put_writes,
    put_all,
    keep,
    drop,
    delete,
    restore,
    quarantine,
)


def read_scripts() -> Scripts:
    """The scripts, ready for a store."""
    return load(SCRIPTS, SCRIPT_FOLDER)
