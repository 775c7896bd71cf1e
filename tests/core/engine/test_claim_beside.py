"""Claims that bring a read of the conversation along."""

from __future__ import annotations

from core.engine.mailbox import Found, Mailbox, Turn
from core.store import keys, scripts
from core.store.client import ScriptCall
from tests.support.desk import Desk, stale_emit


async def claimed(desk: Desk, call: ScriptCall) -> Turn:
    """The turn of a new message."""
    thread = await desk.thread()
    await desk.send(thread)
    turn = await Mailbox(desk.store, "A", lambda _: call).claim(thread, desk.settings)
    assert isinstance(turn, Turn)
    return turn


async def test_the_reply_comes_with_the_turn(desk: Desk) -> None:
    await desk.redis.set("k", "v")
    call = desk.store.call(scripts.snapshot(wanted=("k",), spaces=()))
    reply = [[b"k", b"string", -1, [b"v"], None]]
    assert (await claimed(desk, call)).found == Found(call, reply)


async def test_a_read_that_fails_does_not_cost_the_claim(desk: Desk) -> None:
    turn = await claimed(desk, desk.store.call(stale_emit("t")))
    assert (turn.found, turn.attempt) == (None, 1)


async def test_what_is_stored_about_the_user_comes_with_the_turn(desk: Desk) -> None:
    thread = await desk.thread()
    await desk.redis.hset(keys.profile("u1"), mapping={"name": "Ada", "city": "Köln"})
    await desk.send(thread)
    await desk.send(thread, "m2")
    turn = await desk.claim(thread)
    assert turn.profile == {"city": "Köln", "name": "Ada"}
    await desk.redis.hset(keys.profile("u1"), "name", "Grace")
    following = await desk.finish(turn)
    assert isinstance(following, Turn)
    assert following.profile == {"city": "Köln", "name": "Grace"}
