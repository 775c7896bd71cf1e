"""Every Redis key, declared once: what it holds, who writes it, how long it lives.

No other file spells a key. Keys of one thread share the hash tag ``{thread_id}``, so that one
script can touch them all. "thread" as a life time means: until the user deletes the thread, or, for
an ephemeral thread (stateless OpenAI clients), ``engine.ephemeral_ttl`` after its last use. What
follows from the declarations (which keys a thread has, what a backup leaves out, the table in
docs/architecture.md) is in ``core/store/kinds.py``.
"""

from __future__ import annotations

from core.store.kinds import DAY, HOUR, MINUTE, Kinds

PREFIX = "asst"

KINDS = Kinds(PREFIX)
"""All kinds of keys: the declarations below fill it."""

# A table: one kind after the other, laid out by hand.
# fmt: off

# ---- one thread

meta = KINDS.thread_key("meta", "hash", owner="core.conversations.threads", lives="thread",
    holds="user, title, created_at, updated_at (ms), ttl (s, ephemeral only)", export=True)
inbox = KINDS.thread_key("in", "stream", owner="core.conversations.inbox", lives="thread",
    holds="accepted messages that no turn has finished yet", export=True)
seen = KINDS.thread_key("ids", "zset", owner="core.conversations.inbox", ttl=25 * HOUR,
    holds="message ids by arrival, against duplicates")
lease = KINDS.thread_key("ls", "string", owner="core.engine.mailbox", lives="`engine.lease_ms`",
    ttl=MINUTE, holds="the worker that runs the thread", backup="left out")
control = KINDS.thread_key("ctl", "hash", owner="core.engine.mailbox", lives="thread",
    holds="epoch (fencing token), last journal write, running run, attempts")
journal = KINDS.thread_key("ev", "stream", owner="core.engine.mailbox", lives="thread",
    holds="events of the last day of turns, at most `engine.journal_length`")
transcript = KINDS.thread_key("log", "list", owner="core.engine.mailbox", lives="thread",
    holds="finished messages as JSON, append-only", export=True)
usage_thread = KINDS.thread_key("usage", "hash", owner="core.models.usage", lives="thread",
    holds="token counts of the thread")
calls = KINDS.thread_key("calls", "hash", owner="core.engine.ledger", lives="the turn",
    holds="tool calls with side effects of the running turn: started, or finished with the result")
kept = KINDS.thread_key("kept", "hash", owner="core.engine.kept", lives="thread",
    holds="tool results too long for the model, by name; at most 16 and 2 MiB")
cancel_flag = KINDS.thread_keys("cx:<run>", "string", owner="core.conversations.inbox", ttl=HOUR,
    holds="a run was asked to stop")


def _checkpoint(thread_id: str, kind: str, ns: str = "") -> str:
    return f"{PREFIX}:{{{thread_id}}}:cp:{kind}:{ns}"


checkpoint = KINDS.declare(
    _checkpoint, "thread", "cp:<kind>:<namespace>", "several",
    owner="graph.checkpoint.saver", lives="thread",
    holds="[checkpoints](checkpoints.md) of the graph",
)

# ---- one user

account = KINDS.user_key("account", "hash", owner="core.accounts.passwords", lives="account",
    holds="role, password hash and its version, created_at")
user_threads = KINDS.user_key("threads", "zset", owner="core.conversations.threads",
    lives="account", holds="ids of the user's threads by last use", backup="made anew")
profile = KINDS.user_key("profile", "hash", owner="core.accounts.profile", lives="account",
    holds="name, time zone, language, preferences", export=True)
usage_day = KINDS.user_keys("usage:<day>", "hash", owner="core.models.usage", ttl=400 * DAY,
    holds="token counts of one day (YYYY-MM-DD, UTC)", export=True)
sessions = KINDS.user_key("sessions", "set", owner="core.accounts.sessions", lives="account",
    holds="hashes of the user's sessions", backup="left out", export=True)
api_keys = KINDS.user_key("keys", "hash", owner="core.accounts.api_keys", lives="account",
    holds="key id → key hash", export=True)
erasing = KINDS.user_key("erasing", "set", owner="core.backup.erase", lives="until done",
    holds="threads of a user who is being erased")
user_channel = KINDS.channels("pub:<user>", owner="core.engine.mailbox",
    holds="journal entries of the user's threads as they are written")

# ---- sign-in

setup_token = KINDS.key("auth:setup", "string", owner="core.accounts.setup_token",
    lives="until set-up, at most 24 hours", ttl=DAY, holds="SHA-256 of the one-time set-up token",
    backup="left out")
session = KINDS.keys("auth:s:<hash>", "hash", owner="core.accounts.sessions",
    lives="`auth.session_days` after the last use", ttl=365 * DAY,
    holds="one browser session, by the hash of its secret", backup="left out", export=True)
api_key = KINDS.keys("auth:k:<hash>", "hash", owner="core.accounts.api_keys",
    lives="until revoked or expired", holds="one API key, by the hash of its secret", export=True)
login_attempts = KINDS.keys("auth:try:<address>", "string", owner="core.accounts.limits", ttl=HOUR,
    lives="the limit's window, at most 1 hour", holds="number of sign-in attempts",
    backup="left out")
revocations = KINDS.channel("auth:revoked", owner="core.accounts.credentials",
    holds="credentials that ended just now")

# ---- the installation

pending = KINDS.key("pending", "hash", owner="core.conversations.inbox",
    lives="while there is work",
    holds="thread → newest message id, of threads that may have work: the sweeper's list",
    backup="made anew")
deleted = KINDS.key("deleted", "set", owner="core.conversations.threads",
    lives="until a worker has erased them",
    holds="deleted threads whose checkpoints are still there")
doorbell = KINDS.key("bell", "list", owner="core.conversations.inbox", lives="consumed at once",
    holds="threads to look at now; workers block on it", backup="left out")
dead_letters = KINDS.key("dead", "stream", owner="core.engine.mailbox", lives="installation",
    holds="messages given up, at most 10,000")
asks = KINDS.key("asks", "list", owner="core.asks.client", lives="until the last deadline",
    ttl=MINUTE, holds="ids of questions that wait for a worker", backup="left out")
ask = KINDS.keys("ask:<id>", "string", owner="core.asks.client", lives="until its deadline",
    ttl=MINUTE, holds="one question as JSON", backup="left out")
answer = KINDS.keys("answer:<id>", "list", owner="core.asks.answering", ttl=10,
    holds="the answer to a question", backup="left out")
cancellations = KINDS.channel("cancel", owner="core.conversations.inbox",
    holds="runs to stop")
settings = KINDS.keys("settings:<group>", "hash", owner="core.live_settings.live",
    lives="installation", holds="settings saved in the dashboard, by group")
settings_version = KINDS.key("settings-version", "string", owner="core.live_settings.live",
    lives="installation", holds="a counter that moves with every saved setting")
settings_changed = KINDS.channel("settings-changed", owner="core.live_settings.live",
    holds="a setting was saved")
worker = KINDS.keys("worker:<name>", "hash", owner="core.engine.worker", ttl=15,
    lives="15 seconds, renewed", holds="about a live worker", backup="left out")
workers = KINDS.key("workers", "zset", owner="core.engine.worker", lives="trimmed by the sweeper",
    holds="names of workers by their last sign of life", backup="left out")
telemetry = KINDS.keys("metrics:<process>", "hash", owner="core.telemetry.share", ttl=10 * MINUTE,
    lives="10 minutes, renewed", holds="role and packed figures of one process", backup="left out")
telemetry_processes = KINDS.key("metrics", "zset", owner="core.telemetry.share", ttl=10 * MINUTE,
    lives="10 minutes, renewed", holds="the processes that left figures", backup="left out")
graph_drawing = KINDS.key("graph", "string", owner="graph.process", lives="installation",
    holds="the graph's drawing as JSON, written by a starting worker", backup="left out")
installation = KINDS.key("installation", "hash", owner="core.store.opening", lives="installation",
    holds="format of the state, checkpointer, created_at")
state_lock = KINDS.key("state-lock", "string", owner="core.store.exclusive", ttl=30,
    lives="30 seconds, renewed", holds="token of the process that migrates or restores the state",
    backup="left out")
capabilities = KINDS.keys("caps:<server>", "string", owner="core.models.servers.capabilities",
    ttl=30 * DAY, holds="what a model server can do, as JSON")
cloud_spend = KINDS.keys("cloud:<day>", "string", owner="core.models.budget", ttl=40 * DAY,
    holds="tokens sent to the cloud on a day")

# fmt: on


# ---- beginnings and patterns of names


def cancel_prefix(thread_id: str) -> str:
    """What ``cancel_flag`` keys of the thread start with; scripts append the run id."""
    return cancel_flag(thread_id, "")


def channel_prefix() -> str:
    """What ``user_channel`` names start with; scripts append the user id."""
    return user_channel("")


def checkpoint_spaces(thread_id: str) -> tuple[str, str]:
    """Sets of a thread's checkpoint namespaces: those in use and those set aside."""
    return checkpoint(thread_id, "n"), checkpoint(thread_id, "q-n")


def docket_name() -> str:
    """Name (key prefix) of pydocket's own keys: schedules and background jobs. Each lives until its
    job ends, results 15 minutes; none is in a backup."""
    return f"{PREFIX}-jobs"


def everything() -> str:
    """Pattern of all our keys; those of pydocket are not among them."""
    return f"{PREFIX}:*"


def all_metas() -> str:
    """Pattern of every thread's ``meta``."""
    return meta("*")


def all_of_thread(thread_id: str) -> str:
    """Pattern of a thread's keys."""
    return f"{PREFIX}:{{{thread_id}}}:*"


def all_of_user(user_id: str) -> str:
    """Pattern of a user's keys."""
    escaped = "".join(f"\\{c}" if c in "*?[]\\^-" else c for c in user_id)
    return f"{PREFIX}:u:{{{escaped}}}:*"


# ---- names taken apart, for backup, restore and erasing


def is_ours(name: str) -> bool:
    """Whether a key is one of ours, and none of pydocket's."""
    return name.startswith(f"{PREFIX}:")


def thread_and_part(name: str) -> tuple[str, str] | None:
    """Thread id and part of a thread's key, None for other keys."""
    apart = KINDS.apart(name)
    return apart[1:] if apart is not None and apart[0] == "thread" else None


def user_and_part(name: str) -> tuple[str, str] | None:
    """User id and part of a user's key, None for other keys."""
    apart = KINDS.apart(name)
    return apart[1:] if apart is not None and apart[0] == "user" else None


def of_thread(thread_id: str) -> tuple[str, ...]:
    """All keys of a thread but checkpoints and the short-lived cancel flags."""
    return KINDS.of_thread(thread_id)


def lasting(thread_id: str) -> tuple[str, ...]:
    """Those of them that expire with an ephemeral thread."""
    return KINDS.lasting(thread_id)


def is_transient(name: str) -> bool:
    """Whether a key says what happens right now and means nothing later or elsewhere."""
    kind = KINDS.kind_of(name)
    return kind is not None and kind.backup == "left out"
