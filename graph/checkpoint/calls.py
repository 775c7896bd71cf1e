"""The saver's calls: each script with the keys of a thread that it takes."""

from __future__ import annotations

from collections.abc import Sequence

from core.store import keys
from core.store.calling import Arg, Call
from graph.checkpoint import scripts
from graph.checkpoint.codec import Record

QUARANTINE_SECONDS = 30 * 24 * 3600


def get(thread_id: str, ns: str, checkpoint_id: str) -> Call:
    """Read a checkpoint; the newest if the id is empty."""
    index, records, blobs, writes = data_keys(thread_id, ns)
    return scripts.get(index=index, records=records, blobs=blobs, writes=writes, id=checkpoint_id)


def page(thread_id: str, ns: str, upper: str, most: int) -> Call:
    """Read some checkpoints, newest first."""
    index, records, blobs, writes = data_keys(thread_id, ns)
    return scripts.page(
        index=index, records=records, blobs=blobs, writes=writes, upper=upper, most=most
    )


def history(thread_id: str, ns: str, checkpoint_id: str, channels: Sequence[str]) -> Call:
    """Read what the ancestors of a checkpoint contributed to some channels."""
    index, records, blobs, writes = data_keys(thread_id, ns)
    return scripts.history(
        index=index,
        records=records,
        blobs=blobs,
        writes=writes,
        id=checkpoint_id,
        channels=channels,
    )


def put(
    thread_id: str, ns: str, checkpoint_id: str, record: Record, *, epoch: str, ttl: str
) -> Call:
    """Store a checkpoint."""
    index, records, blobs, _ = data_keys(thread_id, ns)
    return scripts.put(
        control=keys.control(thread_id),
        names=namespaces(thread_id),
        index=index,
        records=records,
        blobs=blobs,
        epoch=epoch,
        ttl=ttl,
        ns=ns,
        id=checkpoint_id,
        record=record.data,
        values=record.blobs,
    )


def put_writes(
    thread_id: str, ns: str, checkpoint_id: str, batch: bytes, *, epoch: str, ttl: str
) -> Call:
    """Append a batch of writes to a checkpoint."""
    return scripts.put_writes(
        control=keys.control(thread_id),
        names=namespaces(thread_id),
        writes=keys.checkpoint(thread_id, "w", ns),
        epoch=epoch,
        ttl=ttl,
        ns=ns,
        id=checkpoint_id,
        batch=batch,
    )


def together(several: Sequence[Call]) -> Call:
    """Calls of ``put`` and ``put_writes`` as one call that does them all, or none.

    One by one, or in a pipeline of which a restarted server knows one script and not the other, a
    turn that was fenced off in between would leave a checkpoint without the messages before it.
    """
    names: list[str] = []
    args: list[Arg] = []
    for script, count, *words in several:
        names += words[:count]
        args += (script, count, len(words) - count, *words[count:])
    return scripts.put_all(keys=names, calls=args)


def keep(thread_id: str, count: int, *, tasks_too: bool, epoch: str) -> Call:
    """Keep the newest checkpoints of each namespace."""
    return scripts.keep(
        control=keys.control(thread_id),
        names=namespaces(thread_id),
        epoch=epoch,
        count=count,
        tasks_too=int(tasks_too),
    )


def drop(thread_id: str, ns: str, ids: Sequence[str], *, epoch: str) -> Call:
    """Delete some checkpoints of a namespace."""
    return scripts.drop(
        control=keys.control(thread_id), names=namespaces(thread_id), epoch=epoch, ns=ns, ids=ids
    )


def delete(thread_id: str) -> Call:
    """Delete a thread's checkpoints, also those in quarantine."""
    return scripts.delete(names=namespaces(thread_id), aside=keys.checkpoint(thread_id, "q-n"))


def dump(thread_id: str) -> Call:
    """Read a thread's checkpoints as they are."""
    return scripts.dump(names=namespaces(thread_id))


def restore(thread_id: str, dumps: Sequence[bytes], *, epoch: str, ttl: str) -> Call:
    """Replace a thread's checkpoints by those of ``dump``."""
    return scripts.restore(
        control=keys.control(thread_id),
        names=namespaces(thread_id),
        epoch=epoch,
        ttl=ttl,
        dumps=dumps,
    )


def quarantine(thread_id: str, *, epoch: str) -> Call:
    """Set a thread's checkpoints aside for 30 days."""
    return scripts.quarantine(
        control=keys.control(thread_id),
        names=namespaces(thread_id),
        aside=keys.checkpoint(thread_id, "q-n"),
        epoch=epoch,
        seconds=QUARANTINE_SECONDS,
    )


def namespaces(thread_id: str) -> str:
    """The set of a thread's namespaces."""
    return keys.checkpoint(thread_id, "n")


def data_keys(thread_id: str, ns: str) -> tuple[str, str, str, str]:
    """Index, records, blobs and writes of a namespace."""
    index, records, blobs, writes = (keys.checkpoint(thread_id, kind, ns) for kind in "icbw")
    return index, records, blobs, writes
