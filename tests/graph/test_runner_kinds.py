"""Turns that begin with something else than the user's words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson

from core.conversations.inbound import Decision, Inbound, Reminder
from core.engine.mailbox import Turn
from core.store import keys
from core.store.client import Store
from tests.support.desk import USER
from tests.support.studio import Studio, Told, in_order, shown, studio, text

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def happen(it: Studio, inbound: Inbound) -> list[Told]:
    """Hand something in, run its turn, return its events."""
    accepted = await it.services.bus.submit(inbound, it.desk.settings)
    assert await it.turns().take(await it.take(inbound.thread_id)) is None
    return await it.told(inbound.thread_id, accepted.run_id)


async def test_a_reminder_is_told_word_for_word_without_a_model(
    store: Store, tmp_path: Path
) -> None:
    async with studio(store, tmp_path, in_order(text("One."), text("Two."))) as it:
        thread = await it.desk.thread()
        await it.say(thread, "first")
        told = await happen(it, Reminder("r1", USER, thread, "tasks", "k1", "Call Ada.", AT))
        assert shown(told) == "Call Ada."
        assert told[-1] == Told("turn_finished", {"status": "completed"})
        assert len(it.model.bodies) == 1
        record = await it.last(thread)
        assert (record["role"], record["kind"], record["text"]) == (
            "assistant",
            "reminder",
            "Call Ada.",
        )
        await it.say(thread, "second")
        page = await it.services.threads.page(thread, limit=50, before=None)
        assert [(m["role"], m["text"]) for m in page.messages] == [
            ("user", "first"),
            ("assistant", "One."),
            ("assistant", "Call Ada."),
            ("user", "second"),
            ("assistant", "Two."),
        ]
        last = await it.services.threads.last_user_message(thread)
        assert last is not None
        assert last["text"] == "second"


async def test_a_decision_that_nobody_waits_for_is_refused(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("One."))) as it:
        thread = await it.desk.thread()
        await it.say(thread, "first")
        before = await it.desk.transcript(thread)
        told = await happen(it, Decision("d1", USER, thread, "web", "a1", "approve"))
        assert [event.type for event in told] == ["turn_started", "turn_failed", "turn_finished"]
        assert told[1].data["code"] == "nothing_waits"
        assert not told[1].data["retryable"]
        assert await it.desk.transcript(thread) == before


async def test_what_cannot_be_read_is_a_dead_letter_and_the_next_message_is_answered(
    store: Store, tmp_path: Path
) -> None:
    """It would have stopped worker after worker."""
    async with studio(store, tmp_path, in_order(text("One."))) as it:
        thread = await it.desk.thread()
        run = (await it.desk.send(thread, "m1")).run_id
        name = keys.inbox(thread)
        [(entry, fields)] = await it.desk.redis.xrange(name)
        await it.desk.redis.xdel(name, entry)
        newer = orjson.dumps({"k": "hologram", "c": "web", "at": AT})
        await it.desk.redis.xadd(name, {**fields, b"p": newer})
        await it.desk.send(thread, "m2")
        following = await it.turns().take(await it.take(thread))
        told = await it.told(thread, run)
        assert told[-1] == Told("turn_finished", {"status": "failed"})
        assert told[-2].data["code"] == "unreadable"
        assert "hologram" in told[-2].data["detail"]
        [(_, letter)] = await it.desk.redis.xrange(keys.dead_letters())
        assert (letter[b"message"], b"hologram" in letter[b"why"]) == (b"m1", True)
        assert isinstance(following, Turn)
        assert following.inbound.id == "m2"
