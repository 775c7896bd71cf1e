"""What processes announce to each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from core.services import beside
from core.store.connection import connect
from core.store.listening import Announcements
from core.store.redis import RedisClient
from tests.support.waiting import wait_until


class Notebook:
    """A listener that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str | None] = []

    async def note(self, text: str | None) -> None:
        self.heard.append(text)


@pytest.fixture
async def announcements(redis_url: str) -> AsyncGenerator[Announcements]:
    """Announcements that somebody listens to already."""
    blocking = connect(redis_url, blocking=True)
    them = Announcements(blocking)
    await them.hear("first", Notebook().note)
    async with beside(them.run(), name="announcements"):
        await them.begun.wait()
        yield them
    await blocking.aclose()


async def test_a_listener_that_comes_later_hears_as_well(
    redis: RedisClient, announcements: Announcements
) -> None:
    other, same = Notebook(), Notebook()
    await announcements.hear("second", other.note)
    await announcements.hear("first", same.note)
    await wait_until(lambda: other.heard == same.heard == [None])
    await redis.publish("first", "a")
    await redis.publish("second", "b")
    await wait_until(lambda: (same.heard, other.heard) == ([None, "a"], [None, "b"]))


async def test_after_an_outage_each_listener_is_told_that_it_may_have_missed_something(
    redis: RedisClient, announcements: Announcements
) -> None:
    one, two = Notebook(), Notebook()
    await announcements.hear("first", one.note)
    await announcements.hear("second", two.note)
    await wait_until(lambda: one.heard == two.heard == [None])
    await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await wait_until(lambda: one.heard == two.heard == [None, None])
    await redis.publish("second", "b")
    await wait_until(lambda: two.heard[-1] == "b")


async def test_a_listener_with_a_fault_makes_no_other_deaf(
    redis: RedisClient, announcements: Announcements, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(text: str | None) -> None:
        if text:
            raise ZeroDivisionError

    after = Notebook()
    await announcements.hear("first", broken)
    await announcements.hear("first", after.note)
    await redis.publish("first", "a")
    await redis.publish("first", "b")
    await wait_until(lambda: after.heard == [None, "a", "b"])
    assert "an announcement on first was not handled" in caplog.text
