"""Our scripts: what each of them takes. Their texts are in ``lua/``."""

from __future__ import annotations

from pathlib import Path

from core.store.calling import Args, Call, Declared, Key, Keys, Scripts, load, script

SCRIPT_FOLDER = Path(__file__).parent / "lua"

# ---- messages


@script
def submit(
    *,
    meta: Key,
    inbox: Key,
    seen: Key,
    control: Key,
    pending: Key,
    doorbell: Key,
    user_threads: Key,
    user: str,
    message: str,
    run: str,
    payload: bytes,
    max_inbox: int,
    now_ms: int,
    keep_ids_ms: int,
    title: str,
    thread: str,
    ring: str,
    longest_bell: int,
) -> Call:
    """Accept a message once."""
    ...


@script
def settle(
    *,
    pending: Key,
    thread: str,
    message: str | bytes,
) -> Call:
    """Forget that a thread has work."""
    ...


@script
def delete(
    *,
    deleted: Key,
    pending: Key,
    user_threads: Key,
    meta: Key,
    journal: Key,
    names: Keys,
    user: str,
    thread: str,
    channel: str,
) -> Call:
    """Remove a conversation but for its checkpoints. ``names``: all its keys."""
    ...


# ---- turns


@script
def claim(
    *,
    lease: Key,
    control: Key,
    inbox: Key,
    journal: Key,
    meta: Key,
    pending: Key,
    owner: str,
    lease_ms: int,
    maxlen: int,
    thread: str,
    cancel_prefix: str,
    channel_prefix: str,
    token: str,
) -> Call:
    """Take a conversation and its oldest message. The token names the attempt."""
    ...


@script
def renew(
    *,
    lease: Key,
    control: Key,
    cancel_flag: Key,
    lasting: Keys,
    owner: str,
    epoch: int,
    lease_ms: int,
    ttl: str,
) -> Call:
    """Keep the lease of a turn."""
    ...


@script
def emit(
    *,
    control: Key,
    journal: Key,
    epoch: int,
    sequence: int,
    maxlen: int,
    ttl: str,
    run: str,
    thread: str,
    channel: str,
    events: Args,
) -> Call:
    """Append events. ``events``: type, payload, …"""
    ...


@script
def done(
    *,
    lease: Key,
    control: Key,
    inbox: Key,
    journal: Key,
    meta: Key,
    pending: Key,
    transcript: Key,
    calls: Key,
    doorbell: Key,
    lasting: Keys,
    owner: str,
    lease_ms: int,
    maxlen: int,
    thread: str,
    cancel_prefix: str,
    channel_prefix: str,
    token: str,
    epoch: int,
    entry: str,
    run: str,
    user: str,
    ttl: str,
    take_next: int,
    keep_seconds: int,
    count: int,
    rest: Args,
) -> Call:
    """End a turn and take the next one. ``rest``: ``count`` records, then type, payload, …"""
    ...


@script
def release(
    *,
    lease: Key,
    control: Key,
    doorbell: Key,
    epoch: int,
    entry: str,
    ring: str,
) -> Call:
    """Give a turn back unfinished."""
    ...


@script
def begin_call(
    *,
    control: Key,
    calls: Key,
    epoch: int,
    call: str,
    token: bytes,
    ttl: str,
) -> Call:
    """Note that a tool call is about to run."""
    ...


@script
def finish_call(
    *,
    calls: Key,
    call: str,
    record: bytes,
) -> Call:
    """Keep the result of a tool call."""
    ...


@script
def keep_result(
    *,
    control: Key,
    kept: Key,
    epoch: int,
    name: str,
    text: str,
    size: int,
    ttl: str,
    most_results: int,
    most_bytes: int,
) -> Call:
    """Keep a long tool result."""
    ...


# ---- the rest


@script
def count(
    *,
    meta: Key,
    of_thread: Key,
    of_day: Key,
    orphan_seconds: int,
    day_seconds: int,
    counts: Args,
) -> Call:
    """Add one call of the model. ``counts``: name, count, …"""
    ...


@script
def touch(
    *,
    credential: Key,
    field: str,
    value: str,
    ttl: str,
) -> Call:
    """Note the use of a session or an API key; ``ttl`` "" leaves its life time as it is."""
    ...


@script
def credential(*, credential: Key, account: Key, index: Key, digest: str) -> Call:
    """Read a session or an API key with the role of its account, and whether ``index``, the
    account's list of them, names it."""
    ...


@script
def snapshot(
    *,
    wanted: Keys,
    spaces: Args,
) -> Call:
    """Read some keys at one moment, and those of the sets of checkpoint namespaces."""
    ...


SCRIPTS: tuple[Declared, ...] = (
    submit,
    settle,
    delete,
    claim,
    renew,
    emit,
    done,
    release,
    begin_call,
    finish_call,
    keep_result,
    count,
    touch,
    credential,
    snapshot,
)


def read_scripts() -> Scripts:
    """The scripts, ready for a store."""
    return load(SCRIPTS, SCRIPT_FOLDER)
