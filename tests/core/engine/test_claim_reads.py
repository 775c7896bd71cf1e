"""Reads that travel with a claim."""

from __future__ import annotations

from typing import Any

import pytest

from core.accounts.profile import profile_read
from core.engine.mailbox import Mailbox, Turn
from core.events import TurnFinished
from core.store import keys, scripts
from core.store.client import Store
from core.store.reads import Read, Reading
from core.store.scripts import read_scripts
from tests.support.counting import Counting
from tests.support.desk import Desk, stale_emit

ADA = {"city": "Köln", "name": "Ada"}


def third(thread_id: str, user_id: str) -> Read[list[str]]:
    """A read of both names, as one for memories could be."""
    words = ("LRANGE", f"of:{thread_id}:{user_id}", 0, -1)
    return Read(words, lambda reply: [word.decode() for word in reply])


@pytest.fixture
async def client(desk: Desk) -> Counting:
    """A client that counts the round trips of the mailbox, of a server that knows the scripts."""
    for known in read_scripts().values():
        await desk.redis.script_load(known.body)
    return Counting(desk.redis)


def mailbox(client: Counting, *reads: Reading) -> Mailbox:
    """A worker's mailbox with some reads."""
    return Mailbox(Store(client.typed, read_scripts()), "A", reads=reads)


async def talk(desk: Desk) -> str:
    """A thread with two messages, and what is read with them."""
    thread = await desk.thread()
    await desk.redis.hset(keys.profile("u1"), mapping=ADA)
    await desk.redis.rpush(f"of:{thread}:u1", "likes tea")
    await desk.redis.set(f"at:{thread}", "v")
    await desk.send(thread)
    await desk.send(thread, "m2")
    return thread


def stored(desk: Desk) -> Reading:
    """A read by a script, as that of the checkpoint is."""

    def read(thread_id: str, _: str) -> Read[list[bytes]]:
        call = desk.store.call(scripts.snapshot(wanted=(f"at:{thread_id}",), spaces=()))
        return Read(call, lambda reply: reply[0][3])

    return read


async def test_three_reads_come_with_the_turn_in_its_one_round_trip(
    desk: Desk, client: Counting
) -> None:
    thread = await talk(desk)
    reads: tuple[Reading, ...] = (profile_read, stored(desk), third)
    turn = await mailbox(client, *reads).claim(thread, desk.settings, user_id="u1")
    assert isinstance(turn, Turn)
    assert [turn.found[read(thread, "u1")] for read in reads] == [ADA, [b"v"], ["likes tea"]]
    assert client.trips == 1
    assert third(thread, "u2") not in turn.found


async def test_they_come_with_a_turn_that_follows_another(desk: Desk, client: Counting) -> None:
    thread = await talk(desk)
    box = mailbox(client, profile_read, third)
    turn = await box.claim(thread, desk.settings, user_id="u1")
    assert isinstance(turn, Turn)
    await desk.redis.hset(keys.profile("u1"), "name", "Grace")
    before = client.trips
    following = await end(box, turn, desk)
    assert isinstance(following, Turn)
    assert following.found[profile_read(thread, "u1")] == {"city": "Köln", "name": "Grace"}
    assert following.found[third(thread, "u1")] == ["likes tea"]
    assert client.trips == before + 2
    assert await end(box, following, desk) is None
    assert client.trips == before + 3, "an end that nothing follows reads nothing"


async def end(box: Mailbox, turn: Turn, desk: Desk) -> Any:
    """End a turn."""
    events = (TurnFinished("completed"),)
    return await box.done(turn, events=events, records=(), settings=desk.settings)


@pytest.mark.parametrize("said", ["", "u2"])
async def test_nothing_of_another_user_is_seen_when_the_bell_was_wrong(
    desk: Desk, client: Counting, said: str
) -> None:
    thread = await talk(desk)
    await desk.redis.hset(keys.profile("u2"), "name", "Eve")
    turn = await mailbox(client, profile_read).claim(thread, desk.settings, user_id=said)
    assert isinstance(turn, Turn)
    assert turn.found[profile_read(thread, "u1")] == ADA
    assert profile_read(thread, said) not in turn.found


async def test_a_read_that_fails_does_not_cost_the_claim(desk: Desk, client: Counting) -> None:
    def refused(_thread_id: str, _user_id: str) -> Read[Any]:
        return Read(desk.store.call(stale_emit("t")), lambda reply: reply)

    thread = await talk(desk)
    box = mailbox(client, refused, profile_read)
    turn = await box.claim(thread, desk.settings, user_id="u1")
    assert isinstance(turn, Turn)
    assert turn.attempt == 1
    assert refused(thread, "u1") not in turn.found
    assert turn.found[profile_read(thread, "u1")] == ADA


async def test_a_server_that_forgot_the_scripts_brings_the_same(
    desk: Desk, client: Counting
) -> None:
    thread = await talk(desk)
    await desk.redis.script_flush()
    reads = (profile_read, stored(desk))
    turn = await mailbox(client, *reads).claim(thread, desk.settings, user_id="u1")
    assert isinstance(turn, Turn)
    assert (turn.attempt, turn.crashes) == (1, 1)
    assert [turn.found[read(thread, "u1")] for read in reads] == [ADA, [b"v"]]
