"""Every Redis key, with its owner and how long it lives. No other file spells a key.

Keys of one thread share the hash tag ``{thread_id}``, so that one script can touch them all and a
Redis Cluster keeps them on one node. "thread" as a life time means: until the user deletes the
thread,
or, for an ephemeral thread (stateless OpenAI clients), ``engine.ephemeral_ttl`` after its last use.
"""

from __future__ import annotations

PREFIX = "asst"

# ---- one thread ------------------------------------------------ owner · life time


def thread(thread_id: str, part: str) -> str:
    """A key of the thread; the parts are listed in ``THREAD_PARTS``."""
    return f"{PREFIX}:{{{thread_id}}}:{part}"


def meta(thread_id: str) -> str:
    """Hash: user, title, created_at, updated_at (ms), ttl (s, ephemeral only). Owner:
    core.conversations.threads · thread."""
    return thread(thread_id, "meta")


def inbox(thread_id: str) -> str:
    """Stream of accepted messages that no turn has finished yet. Owner: core.conversations.inbox ·
    thread."""
    return thread(thread_id, "in")


def seen(thread_id: str) -> str:
    """Sorted set of message ids by arrival, for deduplication. Owner: core.conversations.inbox ·
    25 hours."""
    return thread(thread_id, "ids")


def lease(thread_id: str) -> str:
    """String, name of the worker that runs the thread. Owner: core.engine.mailbox ·
    engine.lease."""
    return thread(thread_id, "ls")


def control(thread_id: str) -> str:
    """Hash: epoch (fencing token), seq (last journal write), running, attempt counters.
    Owner: core.engine.mailbox · thread."""
    return thread(thread_id, "ctl")


def journal(thread_id: str) -> str:
    """Stream of events, capped at engine.journal_length and, when a turn ends, at a day. Owner:
    core.conversations.journal · thread."""
    return thread(thread_id, "ev")


def transcript(thread_id: str) -> str:
    """List of finished messages as JSON, append-only. Owner: core.conversations.threads ·
    thread."""
    return thread(thread_id, "log")


def calls(thread_id: str) -> str:
    """Hash of the running turn's tool calls with side effects: started or finished, with result.
    Owner: core.engine.ledger · the turn."""
    return thread(thread_id, "calls")


def kept(thread_id: str) -> str:
    """Hash of tool results too long for the model, by name; at most 16 and 2 MiB, oldest go first.
    Owner: core.engine.kept · thread."""
    return thread(thread_id, "kept")


def cancel_flag(thread_id: str, run_id: str) -> str:
    """String, set when a run was asked to stop. Owner: core.conversations.inbox · 1 hour."""
    return thread(thread_id, f"cx:{run_id}")


def checkpoint(thread_id: str, kind: str, ns: str = "") -> str:
    """Checkpoints of the graph (kinds: see graph/checkpoint/saver.py). Owner:
    graph.checkpoint.saver · thread."""
    return thread(thread_id, f"cp:{kind}:{ns}")


def cancel_prefix(thread_id: str) -> str:
    """What ``cancel_flag`` keys of the thread start with; scripts append the run id."""
    return thread(thread_id, "cx:")


def of_thread(thread_id: str) -> tuple[str, ...]:
    """All keys of a thread but checkpoints and the short-lived cancel flags."""
    return (
        meta(thread_id),
        inbox(thread_id),
        seen(thread_id),
        lease(thread_id),
        control(thread_id),
        journal(thread_id),
        transcript(thread_id),
        usage_thread(thread_id),
        calls(thread_id),
        kept(thread_id),
    )


# ---- one user


def user(user_id: str, part: str) -> str:
    """A key of one user."""
    return f"{PREFIX}:u:{{{user_id}}}:{part}"


def user_threads(user_id: str) -> str:
    """Sorted set of thread ids by last use. Owner: core.conversations.threads · the account."""
    return user(user_id, "threads")


def erasing(user_id: str) -> str:
    """Set of the thread ids of a user who is being erased. Owner: core.backup.erase · until it is
    done."""
    return user(user_id, "erasing")


def user_channel(user_id: str) -> str:
    """Pub/sub channel on which journal entries of the user's threads are announced.
    Owner: core.conversations.journal · no storage."""
    return f"{PREFIX}:pub:{user_id}"


def channel_prefix() -> str:
    """What ``user_channel`` names start with; scripts append the user id."""
    return f"{PREFIX}:pub:"


def profile(user_id: str) -> str:
    """Hash of user data (name, time zone, language, preferences). Owner: core.accounts.profile ·
    the account."""
    return user(user_id, "profile")


def usage_day(user_id: str, day: str) -> str:
    """Hash of token counts of one day (YYYY-MM-DD, UTC). Owner: core.models.usage · 400 days."""
    return user(user_id, f"usage:{day}")


def usage_thread(thread_id: str) -> str:
    """Hash of token counts of the thread. Owner: core.models.usage · thread."""
    return thread(thread_id, "usage")


# ---- sign-in


def auth(part: str) -> str:
    """Sign-in state; the parts are spelled in ``api.auth`` docs and listed below."""
    return f"{PREFIX}:auth:{part}"


def owner() -> str:
    """Hash: password hash, created_at of the administrator. Owner: api.auth · the installation."""
    return auth("owner")


def setup_token() -> str:
    """String, SHA-256 of the one-time set-up token. Owner: api.auth · until set-up, at most 24
    h."""
    return auth("setup")


def session(token_hash: str) -> str:
    """Hash of one browser session. Owner: api.auth · 30 days after last use."""
    return auth(f"s:{token_hash}")


def sessions(user_id: str) -> str:
    """Set of a user's session hashes. Owner: api.auth · the account."""
    return user(user_id, "sessions")


def api_key(key_hash: str) -> str:
    """Hash of one API key. Owner: api.auth · until revoked."""
    return auth(f"k:{key_hash}")


def api_keys(user_id: str) -> str:
    """Hash key id → key hash. Owner: api.auth · the account."""
    return user(user_id, "keys")


def login_attempts(bucket: str) -> str:
    """Counter of sign-in attempts. Owner: api.auth · the limit's window."""
    return auth(f"try:{bucket}")


def revocations() -> str:
    """Pub/sub channel naming credentials that just ended. Owner: api.auth · no storage."""
    return auth("revoked")


# ---- the installation


def pending() -> str:
    """Hash thread → newest message id, of threads whose inbox may hold messages; the sweeper's
    list.
    Owner: core.conversations.inbox · the installation (fields leave when the inbox is empty)."""
    return f"{PREFIX}:pending"


def deleted() -> str:
    """Set of deleted threads whose checkpoints are still there. Owner: core.conversations.threads
    · until a worker has erased them, minutes."""
    return f"{PREFIX}:deleted"


def doorbell() -> str:
    """List of thread ids to look at now; workers block on it. Owner: core.engine.worker · consumed
    at once."""
    return f"{PREFIX}:bell"


def dead_letters() -> str:
    """Stream of messages given up on, capped at 10,000. Owner: core.engine.mailbox · the
    installation."""
    return f"{PREFIX}:dead"


def asks() -> str:
    """List of questions (ids) that wait for a worker. Owner: core.asks.client · seconds."""
    return f"{PREFIX}:asks"


def ask(ask_id: str) -> str:
    """String, one question as JSON. Owner: core.asks.client · until its deadline."""
    return f"{PREFIX}:ask:{ask_id}"


def answer(ask_id: str) -> str:
    """List with the answer to a question. Owner: core.asks.answering · 10 s."""
    return f"{PREFIX}:answer:{ask_id}"


def cancellations() -> str:
    """Pub/sub channel of cancelled runs. Owner: core.conversations.inbox · no storage."""
    return f"{PREFIX}:cancel"


def settings(group: str) -> str:
    """Hash of settings saved by the user, one per group. Owner: core.live_settings.live · the
    installation."""
    return f"{PREFIX}:settings:{group}"


def settings_version() -> str:
    """Counter that moves with every saved setting. Owner: core.live_settings.live · the
    installation."""
    return f"{PREFIX}:settings-version"


def settings_changed() -> str:
    """Pub/sub channel told of every saved setting. Owner: core.settings.groups · no storage."""
    return f"{PREFIX}:settings-changed"


def worker(name: str) -> str:
    """Hash about a live worker. Owner: core.engine.worker · 15 s, renewed."""
    return f"{PREFIX}:worker:{name}"


def workers() -> str:
    """Sorted set of worker names by last sign of life. Owner: core.engine.worker · trimmed by the
    sweeper."""
    return f"{PREFIX}:workers"


def telemetry(process: str) -> str:
    """Hash: role and packed metrics of one process. Owner: core.telemetry.share · 10 minutes,
    renewed."""
    return f"{PREFIX}:metrics:{process}"


def telemetry_processes() -> str:
    """Sorted set of the processes that left metrics. Owner: core.telemetry.share · 10 minutes,
    renewed."""
    return f"{PREFIX}:metrics"


def graph_drawing() -> str:
    """JSON drawing of the graph, written by a starting worker. Owner: graph.build · the
    installation."""
    return f"{PREFIX}:graph"


def installation() -> str:
    """Hash: format (of the state), checkpointer, created_at. Owner: core.store.client · the
    installation."""
    return f"{PREFIX}:installation"


def state_lock() -> str:
    """String, token of the process that migrates or restores the state. Owner:
    core.store.exclusive · 30 s, renewed."""
    return f"{PREFIX}:state-lock"


def capabilities(server_hash: str) -> str:
    """JSON of what a model server can do. Owner: core.models.servers.probe · 30 days."""
    return f"{PREFIX}:caps:{server_hash}"


def cloud_spend(day: str) -> str:
    """Tokens sent to the cloud on a day. Owner: core.models.gateway · 40 days."""
    return f"{PREFIX}:cloud:{day}"


def docket_name() -> str:
    """Name (key prefix) of pydocket's own keys: schedules, background jobs. Owner:
    core.engine.worker · each
    entry lives until its job ends, results 15 minutes."""
    return f"{PREFIX}-jobs"


# ---- names taken apart, for backup, restore and erasing


def everything() -> str:
    """Pattern of all our keys; those of pydocket are not among them."""
    return f"{PREFIX}:*"


def thread_and_part(name: str) -> tuple[str, str] | None:
    """Thread id and part of a thread's key, None for other keys."""
    return _apart(name, f"{PREFIX}:{{")


def user_and_part(name: str) -> tuple[str, str] | None:
    """User id and part of a user's key, None for other keys."""
    return _apart(name, f"{PREFIX}:u:{{")


def _apart(name: str, start: str) -> tuple[str, str] | None:
    tag, closed, part = name.removeprefix(start).partition("}:")
    return (tag, part) if name.startswith(start) and closed else None


def all_metas() -> str:
    """Pattern of every thread's ``meta``."""
    return meta("*")


def all_of_user(user_id: str) -> str:
    """Pattern of a user's keys."""
    return user("".join(f"\\{c}" if c in "*?[]\\^-" else c for c in user_id), "*")


def checkpoint_spaces(thread_id: str) -> tuple[str, str]:
    """Sets of a thread's checkpoint namespaces: those in use and those set aside."""
    return checkpoint(thread_id, "n"), checkpoint(thread_id, "q-n")


def is_ours(name: str) -> bool:
    """Whether a key is one of this file, and no name of pydocket's."""
    return name.startswith(f"{PREFIX}:")


def is_transient(name: str) -> bool:
    """Whether a key says what happens right now and means nothing later or elsewhere."""
    if apart := thread_and_part(name):
        return name == lease(apart[0])
    if apart := user_and_part(name):
        return name == sessions(apart[0])
    return name in _TRANSIENT or name.startswith(_TRANSIENT_STARTS)


_TRANSIENT = frozenset(
    (
        doorbell(),
        asks(),
        workers(),
        telemetry_processes(),
        setup_token(),
        graph_drawing(),
        state_lock(),
    )
)
_TRANSIENT_STARTS = (
    worker(""),
    telemetry(""),
    session(""),
    login_attempts(""),
    ask(""),
    answer(""),
)
