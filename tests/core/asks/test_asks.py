"""Questions to a worker, from being asked to being answered, and what may go wrong in between."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from core.asks import answering as answers
from core.asks import client
from core.asks.answering import Ask, answering
from core.asks.client import Asks, NoAnswer, NoWorker, Refused
from core.errors import ConfigError, Conflict, RateLimited, TooLarge
from core.events import Json
from core.ids import new_id
from core.store import keys
from core.store.client import Store
from core.store.connection import connect
from tests.support import answering_worker
from tests.support.desk import show_a_worker
from tests.support.waiting import wait_until


async def greet(argument: Json) -> Json:
    return {"hello": argument}


async def refuse(_argument: Json) -> Json:
    raise Conflict("not like this", code="not_so")


async def break_down(_argument: Json) -> Json:
    raise ZeroDivisionError


async def say_much(_argument: Json) -> Json:
    return "x" * (answers.MAX_ANSWER + 1)


async def never(_argument: Json) -> Json:
    await asyncio.Event().wait()
    return None


ASKS = (
    Ask("greet", greet),
    Ask("refuse", refuse),
    Ask("break_down", break_down),
    Ask("say_much", say_much),
    Ask("never", never),
)


@pytest.fixture
async def asker(store: Store, redis_url: str) -> AsyncGenerator[Asks]:
    """The side that asks; a worker seems to be there."""
    blocking = connect(redis_url, blocking=True)
    await show_a_worker(store)
    yield Asks(store, blocking)
    await blocking.aclose()


@asynccontextmanager
async def worker(store: Store, url: str, asks: Sequence[Ask] = ASKS) -> AsyncGenerator[None]:
    """The side that answers."""
    blocking = connect(url, blocking=True)
    async with answering(store, blocking, asks, broken=pytest.fail):
        yield
    await blocking.aclose()


async def test_a_question_is_answered_and_nothing_stays_behind(
    asker: Asks, store: Store, redis_url: str
) -> None:
    async with worker(store, redis_url):
        assert await asker.ask("greet", {"name": "ёж"}) == {"hello": {"name": "ёж"}}
        assert await asker.ask("greet") == {"hello": None}
    left = [name for name in await store.redis.keys("asst:a*") if await store.redis.ttl(name) < 0]
    assert left == []


async def test_an_error_of_the_worker_is_told_as_it_is(
    asker: Asks, store: Store, redis_url: str
) -> None:
    async with worker(store, redis_url):
        with pytest.raises(Refused, match="not like this") as caught:
            await asker.ask("refuse")
        assert (caught.value.code, caught.value.status) == ("not_so", 409)
        with pytest.raises(Refused, match="does not know the question 'sing'"):
            await asker.ask("sing")


async def test_an_unexpected_error_is_told_without_its_details(
    asker: Asks, store: Store, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with worker(store, redis_url):
            with pytest.raises(Refused, match="in the log") as caught:
                await asker.ask("break_down")
    assert caught.value.code == "internal"
    assert "ZeroDivisionError" in caplog.text
    assert "ZeroDivisionError" not in caught.value.detail


async def test_sizes_are_limited_both_ways(asker: Asks, store: Store, redis_url: str) -> None:
    with pytest.raises(TooLarge):
        await asker.ask("greet", "x" * client.MAX_QUESTION)
    async with worker(store, redis_url):
        with pytest.raises(Refused) as caught:
            await asker.ask("say_much")
    assert (caught.value.code, caught.value.status) == ("too_large", 413)


async def test_without_a_worker_nobody_waits(store: Store, redis_url: str) -> None:
    blocking = connect(redis_url, blocking=True)
    began = time.monotonic()
    with pytest.raises(NoWorker, match="assistant worker"):
        await Asks(store, blocking).ask("greet", deadline=30)
    assert time.monotonic() - began < 5
    await blocking.aclose()


async def test_a_deadline_that_passes_is_an_error_in_time(
    asker: Asks, store: Store, redis_url: str
) -> None:
    async with worker(store, redis_url):
        began = time.monotonic()
        with pytest.raises((NoAnswer, Refused)) as caught:
            await asker.ask("never", deadline=0.4)
        assert caught.value.code == "no_answer"
        assert 0.3 < time.monotonic() - began < 3


async def test_a_worker_that_dies_while_it_answers_is_replaced_by_another(
    asker: Asks, store: Store, redis_url: str
) -> None:
    dying = await asyncio.create_subprocess_exec(
        sys.executable, answering_worker.__file__, redis_url, stdout=asyncio.subprocess.PIPE
    )
    assert dying.stdout is not None
    assert await dying.stdout.readline() == b"ready\n"
    question = asyncio.create_task(asker.ask("greet", 1, deadline=10))
    assert await dying.wait() < 0  # it took the question with it
    async with worker(store, redis_url):
        assert await question == {"hello": 1}


async def test_a_second_answer_is_never_taken_for_that_of_another_question(
    asker: Asks, store: Store, redis_url: str
) -> None:
    slow = asyncio.Event()

    async def late(argument: Json) -> Json:
        await slow.wait()
        return argument

    async with worker(store, redis_url, (Ask("late", late),)):
        # Half of its time passes: it is asked again, and both answers come.
        first = asyncio.create_task(asker.ask("late", "first", deadline=2))
        await wait_until(lambda: len(asyncio.all_tasks()) > 0 and _answering() == 2, timeout=5)
        slow.set()
        assert await first == "first"
        assert await asker.ask("late", "second") == "second"


def _answering() -> int:
    return sum(task.get_name() == "answer" for task in asyncio.all_tasks())


async def test_a_question_whose_time_is_over_is_not_answered(
    asker: Asks, store: Store, redis_url: str
) -> None:
    answered: list[Json] = []

    async def note(argument: Json) -> Json:
        answered.append(argument)
        return argument

    with pytest.raises(NoAnswer):
        await asker.ask("note", "old", deadline=0.1)
    await store.redis.rpush(keys.asks(), new_id("q"))
    async with worker(store, redis_url, (Ask("note", note),)):
        assert await asker.ask("note", "new") == "new"
    assert answered == ["new"]


async def test_more_questions_than_a_worker_has_places_for_are_all_answered(
    asker: Asks, store: Store, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "AT_ONCE", 2)
    async with worker(store, redis_url):
        found = await asyncio.gather(*(asker.ask("greet", n) for n in range(client.AT_ONCE)))
    assert found == [{"hello": n} for n in range(client.AT_ONCE)]


async def test_a_process_asks_a_bounded_number_at_once(asker: Asks) -> None:
    waiting = [asyncio.create_task(asker.ask("greet", n)) for n in range(client.AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await asker.ask("greet")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_two_questions_of_one_name_are_refused_at_the_start(
    store: Store, redis_url: str
) -> None:
    blocking = connect(redis_url, blocking=True)
    with pytest.raises(ConfigError, match="greet"):
        async with answering(store, blocking, (ASKS[0], ASKS[0]), broken=pytest.fail):
            pass
    await blocking.aclose()
