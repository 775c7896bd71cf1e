"""The rules of conversations, as every channel gets them."""

from __future__ import annotations

import logging

import pytest

from core.conversations.conversations import Conversations
from core.conversations.inbound import Message
from core.conversations.inbox import Bus
from core.conversations.threads import Threads
from core.conversations.transcript import pack_record
from core.errors import Conflict, NotFound, StoreUnavailable
from core.store import keys
from tests.support.desk import USER, Desk


class Rules:
    """The rules over a desk, and what they asked to be erased."""

    def __init__(self, desk: Desk) -> None:
        self.erased: list[str] = []
        self.away = False
        self.rules = Conversations(
            Bus(desk.store),
            Threads(desk.store),
            engine=lambda: desk.settings,
            ask_to_erase=self.erase,
        )

    async def erase(self, thread_id: str) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.erased.append(thread_id)


@pytest.fixture
def it(desk: Desk) -> Rules:
    """The rules over an empty server."""
    return Rules(desk)


async def answered(desk: Desk, thread: str) -> None:
    """One message with its answer."""
    await desk.send(thread, "m1", "How much?")
    turn = await desk.claim(thread)
    record = {"id": "m1", "role": "user", "text": "How much?", "run_id": turn.run_id}
    await desk.finish(turn, records=[pack_record(record)])


async def test_the_last_message_is_tried_again(desk: Desk, it: Rules) -> None:
    thread = await desk.thread()
    await answered(desk, thread)
    accepted = await it.rules.retry(USER, thread, channel="terminal")
    turn = await desk.claim(thread)
    assert turn.run_id == accepted.run_id
    assert isinstance(turn.inbound, Message)
    assert (turn.inbound.text, turn.inbound.retry_of) == ("How much?", "m1")
    assert turn.inbound.channel == "terminal"


async def test_what_cannot_be_tried_again(desk: Desk, it: Rules) -> None:
    thread = await desk.thread()
    with pytest.raises(Conflict, match="no finished message"):
        await it.rules.retry(USER, thread, channel="web")
    await desk.send(thread)
    with pytest.raises(Conflict, match="still under way"):
        await it.rules.retry(USER, thread, channel="web")
    with pytest.raises(NotFound):
        await it.rules.retry("u2", thread, channel="web")


async def test_only_the_owner_stops_a_run(desk: Desk, it: Rules) -> None:
    thread = await desk.thread()
    run = (await desk.send(thread)).run_id
    with pytest.raises(NotFound):
        await it.rules.stop("u2", run)
    assert not (await desk.claim(thread)).cancelled
    await it.rules.stop(USER, run)
    assert await desk.redis.exists(keys.cancel_flag(thread, run))


async def test_deleting_stops_what_runs_and_asks_for_the_rest(desk: Desk, it: Rules) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    with pytest.raises(NotFound):
        await it.rules.delete("u2", thread)
    await it.rules.delete(USER, thread)
    assert await desk.redis.exists(keys.cancel_flag(thread, turn.run_id))
    assert it.erased == [thread]
    with pytest.raises(NotFound):
        await it.rules.delete(USER, thread)


async def test_a_conversation_is_deleted_also_when_the_job_cannot_be_asked_for(
    desk: Desk, it: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    thread, it.away = await desk.thread(), True
    with caplog.at_level(logging.WARNING):
        await it.rules.delete(USER, thread)
    assert "is erased later" in caplog.text
    assert await Threads(desk.store).deleted() == [thread]


async def test_a_stateless_client_gets_a_conversation_that_expires(desk: Desk, it: Rules) -> None:
    thread = await it.rules.ephemeral(USER)
    accepted = await it.rules.send(Message("m", USER, thread.id, "openai", "Hi"))
    assert 0 < await desk.redis.ttl(keys.meta(thread.id)) <= desk.settings.ephemeral_ttl
    found, _ = await Threads(desk.store).listed(USER, limit=10, cursor=None)
    assert found == []
    await Threads(desk.store).delete(USER, thread.id)
    await it.rules.abandon(accepted.run_id)
