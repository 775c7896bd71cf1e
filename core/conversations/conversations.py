"""What one may do to a conversation, in whatever channel: send, try again, stop, delete.

A channel parses what came in, calls here, and tells the errors in its own way.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from core.conversations.inbound import Inbound, Message
from core.conversations.inbox import Accepted, Bus
from core.conversations.threads import Thread, Threads
from core.errors import Conflict, StoreError
from core.ids import new_id, thread_of_run
from core.settings.groups import EngineSettings

log = logging.getLogger(__name__)

AskToErase = Callable[[str], Awaitable[None]]
"""Asks for the job that erases what is left of a deleted conversation. Raises StoreError."""


class Conversations:
    """The rules, over stored conversations and their inboxes."""

    def __init__(
        self,
        bus: Bus,
        threads: Threads,
        *,
        engine: Callable[[], EngineSettings],
        ask_to_erase: AskToErase,
    ) -> None:
        self._bus = bus
        self._threads = threads
        self._engine = engine
        self._ask_to_erase = ask_to_erase

    async def ephemeral(self, user_id: str) -> Thread:
        """A conversation for a client that keeps none itself: it expires, and no list shows it."""
        return await self._threads.create(user_id, ttl=self._engine().ephemeral_ttl)

    async def send(self, inbound: Inbound) -> Accepted:
        """Take a message; once this returns it will be answered.

        Raises NotFound, InboxFull, Invalid, TooLarge, StoreError.
        """
        return await self._bus.submit(inbound, self._engine())

    async def retry(self, user_id: str, thread_id: str, *, channel: str) -> Accepted:
        """Answer the last message again; the new answer takes the place of the old one.

        Raises NotFound, Conflict (an answer is under way, or there is nothing to try again).
        """
        await self._threads.get(user_id, thread_id)
        if await self._threads.has_work(thread_id):
            # A second try of an older message would take the newer ones out of the memory.
            raise Conflict("an answer is still under way; wait for it, or stop it first")
        last = await self._threads.last_user_message(thread_id)
        if last is None:
            raise Conflict("there is no finished message to try again")
        return await self.send(
            Message(
                id=new_id("m"),
                user_id=user_id,
                thread_id=thread_id,
                channel=channel,
                text=str(last["text"]),
                retry_of=str(last["id"]),
            )
        )

    async def stop(self, user_id: str, run_id: str) -> None:
        """Ask a run of the user to stop; its `turn_finished` event confirms it. Raises NotFound."""
        await self._threads.get(user_id, thread_of_run(run_id))
        await self._bus.cancel(run_id)

    async def abandon(self, run_id: str) -> None:
        """Stop a run that nobody can read any more, also where its conversation is gone."""
        await self._bus.cancel(run_id)

    async def delete(self, user_id: str, thread_id: str) -> None:
        """Delete a conversation with everything in it, and stop what runs there. Raises NotFound.

        What is left of it is erased by workers: soon, or later when the job cannot be asked for.
        """
        await self._threads.get(user_id, thread_id)
        page = await self._threads.page(thread_id, limit=1, before=None)
        await self._threads.delete(user_id, thread_id)
        if page.running_run_id is not None:
            await self._bus.cancel(page.running_run_id)
        try:
            await self._ask_to_erase(thread_id)
        except StoreError as error:
            log.warning("%s is erased later: %s", thread_id, error)
