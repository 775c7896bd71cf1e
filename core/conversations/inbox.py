"""The way in: accept a message exactly once, ask a run to stop."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from core.conversations.inbound import Decision, Inbound, Message, Reminder, encode
from core.errors import InboxFull, Invalid, NotFound, TooLarge
from core.events import scrub
from core.ids import run_id_for, thread_of_run
from core.settings.groups import EngineSettings
from core.store import keys, scripts
from core.store.client import Store

KEEP_IDS_MS = 25 * 3600 * 1000
"""How long a message id dedupes: a day (Telegram's own memory of updates) and an hour."""

MAX_ID_LENGTH = 128
MAX_BELL = 10_000
BELL_SEPARATOR = "\x1f"
"""Between thread and user in a ring of the doorbell."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The message is in Redis. ``duplicate``: it already was."""

    message_id: str
    run_id: str
    duplicate: bool


def check_text(text: str, settings: EngineSettings) -> str:
    """The text as it will be stored. Raises Invalid when empty, TooLarge over the limit."""
    clean = scrub(text).replace("\x00", "")
    if not clean.strip():
        raise Invalid("the message is empty; write something", code="empty_message")
    if len(clean.encode()) > settings.max_message_bytes:
        limit = settings.max_message_bytes // 1024
        raise TooLarge(f"the message is longer than {limit} KiB; send it in parts or as a file")
    return clean


def check_message_id(message_id: str) -> str:
    """The id, if it can be one. Raises Invalid."""
    if not message_id or len(message_id) > MAX_ID_LENGTH or not message_id.isprintable():
        raise Invalid(f"id must be 1 to {MAX_ID_LENGTH} printable characters")
    return message_id


def checked(inbound: Inbound, settings: EngineSettings) -> Inbound:
    """What came in, as it will be stored. Raises Invalid, TooLarge."""
    check_message_id(inbound.id)
    match inbound:
        case Message(text=text) | Reminder(text=text):
            clean = check_text(text, settings)
            return inbound if clean == text else replace(inbound, text=clean)
        case Decision():
            check_message_id(inbound.approval_id)
            if len(encode(inbound)) > settings.max_message_bytes:
                raise TooLarge("the decision is too long; give fewer arguments or words")
            return inbound


def first_title(inbound: Inbound) -> str:
    """What a thread without a title is called after this came in."""
    return "" if isinstance(inbound, Decision) else title_of(inbound.text)


def title_of(text: str) -> str:
    """A thread's first title: the beginning of its first message."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59].rstrip() + "…"


class Bus:
    """Accepts messages and cancellations; any number of processes may have one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def submit(self, inbound: Inbound, settings: EngineSettings) -> Accepted:
        """Journal what came in; once this returns it will be answered. Repeating it is harmless.

        Raises NotFound (no such thread of this user), InboxFull, Invalid, TooLarge, StoreError.
        """
        thread_id = inbound.thread_id
        run_id = run_id_for(thread_id, inbound.id)
        inbound = checked(inbound, settings)
        call = scripts.submit(
            meta=keys.meta(thread_id),
            inbox=keys.inbox(thread_id),
            seen=keys.seen(thread_id),
            control=keys.control(thread_id),
            pending=keys.pending(),
            doorbell=keys.doorbell(),
            user_threads=keys.user_threads(inbound.user_id),
            user=inbound.user_id,
            message=inbound.id,
            run=run_id,
            payload=encode(inbound),
            max_inbox=settings.max_inbox,
            now_ms=int(time.time() * 1000),
            keep_ids_ms=KEEP_IDS_MS,
            title=first_title(inbound),
            thread=thread_id,
            ring=f"{thread_id}{BELL_SEPARATOR}{inbound.user_id}",
            longest_bell=MAX_BELL,
        )
        match await self._store.script(call):
            case -1:
                raise NotFound(f"there is no conversation {thread_id!r}")
            case -2:
                raise InboxFull(
                    f"{settings.max_inbox} messages already wait in this conversation; "
                    "wait for an answer, then send again",
                    retry_after=5,
                )
            case outcome:
                return Accepted(inbound.id, run_id, duplicate=outcome == 0)

    async def cancel(self, run_id: str) -> None:
        """Ask a run to stop, whether it waits or works. The flag outlives a lost publication."""
        flag = keys.cancel_flag(thread_of_run(run_id), run_id)

        async def send() -> None:
            async with self._store.redis.pipeline(transaction=False) as pipe:
                pipe.set(flag, 1, ex=3600)
                pipe.publish(keys.cancellations(), run_id)
                await pipe.execute()

        await self._store.retry(send)
