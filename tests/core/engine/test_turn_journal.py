"""The writer of one turn's events: in order, each once, joined, over an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.engine.mailbox import Mailbox, Turn
from core.engine.turn_journal import TurnJournal
from core.errors import Fenced
from core.events import Event, Notice, ReasoningDelta, TextDelta
from core.store import keys
from core.store.client import Store
from core.store.opening import open_store
from tests.support.desk import Desk
from tests.support.fault_proxy import FaultProxy
from tests.support.waiting import wait_until

Shape = list[tuple[str, str]]


async def begin(desk: Desk, store: Store | None = None) -> tuple[Turn, TurnJournal]:
    """A turn and its writer."""
    thread = await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    return turn, TurnJournal(Mailbox(store or desk.store, "A"), turn, desk.settings)


async def written(desk: Desk, turn: Turn) -> Shape:
    """(type, text) of what is in the journal of the turn."""
    told = await desk.told(turn.thread_id)
    return [(kind, data.get("text", "")) for kind, data in told if kind != "turn_started"]


def joined(events: Sequence[Event]) -> Shape:
    """The same with neighbouring deltas of one kind joined as far as possible."""
    shape: Shape = []
    for event in events:
        text = getattr(event, "text", "")
        if shape and shape[-1][0] == event.type and event.type.endswith("_delta"):
            shape[-1] = (event.type, shape[-1][1] + text)
        else:
            shape.append((event.type, text))
    return shape


def merged(shape: Shape) -> Shape:
    """What was written, joined as far as possible."""
    result: Shape = []
    for kind, text in shape:
        if result and result[-1][0] == kind and kind.endswith("_delta"):
            result[-1] = (kind, result[-1][1] + text)
        else:
            result.append((kind, text))
    return result


async def test_the_first_token_is_written_at_once(desk: Desk) -> None:
    turn, journal = await begin(desk)
    journal.put(TextDelta("A"))
    await wait_until(lambda: _wrote(desk, turn, 1), timeout=0.5, every=0.001)
    await journal.close()


async def _wrote(desk: Desk, turn: Turn, count: int) -> bool:
    return len(await written(desk, turn)) >= count


async def test_tokens_that_come_quickly_are_joined(desk: Desk) -> None:
    turn, journal = await begin(desk)
    words = [f"{n} " for n in range(300)]
    for word in words:
        journal.put(TextDelta(word))
        await asyncio.sleep(0)
    await journal.flush()
    shape = await written(desk, turn)
    assert merged(shape) == [("text_delta", "".join(words))]
    assert len(shape) <= 20


async def test_what_is_no_delta_does_not_wait(desk: Desk) -> None:
    turn, journal = await begin(desk)
    journal.put(TextDelta("a"))
    journal.put(TextDelta("b"))
    journal.put(Notice("info", "now"))
    await wait_until(lambda: _has(desk, turn, "now"), timeout=0.5, every=0.001)
    assert merged(await written(desk, turn)) == [("text_delta", "ab"), ("notice", "now")]
    await journal.close()


async def _has(desk: Desk, turn: Turn, text: str) -> bool:
    return text in [said for _, said in await written(desk, turn)]


EVENTS = st.lists(
    st.one_of(
        st.builds(TextDelta, st.text(max_size=3)),
        st.builds(TextDelta, st.text(max_size=3)),
        st.builds(ReasoningDelta, st.text(max_size=3)),
        st.builds(Notice, st.just("info"), st.text(max_size=3)),
    ),
    max_size=30,
)


@given(events=EVENTS, rests=st.lists(st.integers(0, 40), max_size=5), leftover=st.booleans())
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_events_arrive_in_order(
    redis_url: str, events: list[Event], rests: list[int], leftover: bool
) -> None:
    async def run() -> tuple[Shape, Shape]:
        async with open_store(redis_url) as store:
            desk = Desk(store)
            turn, journal = await begin(desk)
            for number, event in enumerate(events):
                journal.put(event)
                if number in rests:
                    await asyncio.sleep(0.001)
            if leftover:
                await journal.settle()
                await desk.mailbox().emit(turn, 10_000, journal.take_rest(), desk.settings)
            else:
                await journal.flush()
            return merged(await written(desk, turn)), joined(events)

    found, expected = asyncio.run(run())
    assert [e for e in found if e[1] or e[0] == "notice"] == [
        e for e in merged(expected) if e[1] or e[0] == "notice"
    ]


@pytest.mark.parametrize("fault", ["reset", "drop_replies", "cut_replies"])
async def test_an_outage_loses_and_doubles_nothing(
    desk: Desk, proxy: FaultProxy, fault: str
) -> None:
    async with open_store(proxy.url) as away:
        turn, journal = await begin(desk, away)
        journal.put(TextDelta("before "))
        await journal.flush()
        proxy.mode = fault  # pyright: ignore[reportAttributeAccessIssue] - one of its modes
        for number in range(30):
            journal.put(TextDelta(f"{number} "))
            journal.put(Notice("info", f"n{number}"))
            await asyncio.sleep(0)
        await asyncio.wait([asyncio.create_task(journal.flush())], timeout=0.5)
        proxy.mode = "pass"
        await asyncio.wait_for(journal.flush(), 5)
    texts = [text for _, text in await written(desk, turn)]
    assert texts[0] == "before "
    assert texts[1:] == [part for n in range(30) for part in (f"{n} ", f"n{n}")]


async def test_a_fenced_writer_says_so(desk: Desk) -> None:
    turn, journal = await begin(desk)
    await desk.redis.delete(keys.lease(turn.thread_id))
    await desk.claim(turn.thread_id, "B")
    journal.put(TextDelta("ghost"))
    with pytest.raises(Fenced):
        await journal.flush()
    with pytest.raises(Fenced):
        journal.put(TextDelta("more"))
    assert await written(desk, turn) == []


async def test_a_closed_writer_writes_no_more(desk: Desk) -> None:
    turn, journal = await begin(desk)
    journal.put(TextDelta("a"))
    await journal.flush()
    journal.put(TextDelta("b"))
    await journal.close()
    assert journal.take_rest() == [TextDelta("b")]
    assert await written(desk, turn) == [("text_delta", "a")]


async def test_the_rest_goes_with_the_end(desk: Desk) -> None:
    turn, journal = await begin(desk)
    journal.put(TextDelta("a"))
    await asyncio.sleep(0)
    journal.put(TextDelta("b"))
    journal.put(TextDelta("c"))
    await journal.settle()
    rest = journal.take_rest()
    await desk.finish(turn, events=rest)
    assert merged(await written(desk, turn)) == [("text_delta", "abc")]
