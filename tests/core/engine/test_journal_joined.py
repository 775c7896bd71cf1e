"""What waits for a reader comes together, and a call to look again is not passed over."""

from __future__ import annotations

from core.conversations.following import follow_user
from core.conversations.hub import Subscription
from core.conversations.journal import Entry
from core.engine.mailbox import Turn
from core.events import TextDelta
from tests.support.desk import USER, Desk


def entry(number: int, thread: str = "t") -> Entry:
    return Entry(thread, f"{number}-0", "r", "text_delta", b"{}")


async def test_all_that_waits_is_one_answer() -> None:
    subscription = Subscription(None)
    for number in range(1, 5):
        subscription.put([entry(number)])
    assert [e.id for e in await subscription.get() or ()] == ["1-0", "2-0", "3-0", "4-0"]
    assert subscription.waiting == 0
    subscription.put([entry(5)])
    assert [e.id for e in await subscription.get() or ()] == ["5-0"]
    assert subscription.waiting == 0


async def test_a_call_to_look_again_comes_between_what_was_before_and_after_it() -> None:
    subscription = Subscription(None)
    subscription.put([entry(1)])
    subscription.put([entry(2)])
    subscription.queue.put_nowait(None)
    subscription.put([entry(3)])
    assert [e.id for e in await subscription.get() or ()] == ["1-0", "2-0"]
    assert await subscription.get() is None
    assert [e.id for e in await subscription.get() or ()] == ["3-0"]
    subscription.queue.put_nowait(None)
    assert await subscription.get() is None
    assert subscription.waiting == 0


async def test_entries_of_several_threads_that_waited_together_are_each_read_once(
    desk: Desk,
) -> None:
    subscription = Subscription(None)
    begun = {turn.thread_id: turn for turn in [await _begun(desk), await _begun(desk)]}
    batches = follow_user(desk.store, subscription, USER, "0-0")
    got = [*await anext(batches), *await anext(batches)]
    one, two = (begun[entry.thread_id] for entry in got)
    # What was missed of the first one has been read by now: from here on it comes as it is written.
    await _say(desk, one, 1, subscription)
    got += await anext(batches)
    for number in (2, 3):
        await _say(desk, one, number, subscription)
        await _say(desk, two, number, subscription)
    got += await anext(batches)
    assert len(got) == 7
    subscription.queue.put_nowait(None)  # as after a renewed connection: nothing is new but this
    await desk.mailbox().emit(one, 4, [TextDelta("4 ")], desk.settings)
    got += await anext(batches)
    assert len(got) == len({(e.thread_id, e.id) for e in got}) == 8
    await batches.aclose()


async def _say(desk: Desk, turn: Turn, number: int, subscription: Subscription) -> None:
    """One more piece, written and handed to the reader."""
    await desk.mailbox().emit(turn, number, [TextDelta(f"{number} ")], desk.settings)
    subscription.put((await desk.entries(turn.thread_id))[-1:])


async def _begun(desk: Desk) -> Turn:
    thread = await desk.thread()
    await desk.send(thread)
    return await desk.claim(thread)
