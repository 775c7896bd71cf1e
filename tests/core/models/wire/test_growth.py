"""No reader of a model's text or a server's bytes takes more than its size's share of time."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks.parsers import Work, seconds, works
from core.logs import Redactor
from core.models.wire.chunks import ChunkReader
from core.models.wire.tools import known_tools
from tests.support.gateways import NOW, WEATHER

PARTS = 24
FLOOR = 0.002
"""Seconds below which a time says nothing."""


@cache
def _works(size: int) -> dict[str, Work]:
    return works(size)


def _too_slow(name: str, best_of: int) -> bool:
    small = max(FLOOR, seconds(_works(4_000)[name], best_of=best_of))
    return seconds(_works(16_000)[name], best_of=best_of) > 8 * small


@pytest.mark.parametrize("part", range(PARTS))
def test_four_times_the_text_takes_at_most_eight_times_as_long(part: int) -> None:
    names = [name for name in list(_works(4_000))[part::PARTS] if _too_slow(name, 1)]
    assert [name for name in names if _too_slow(name, 5)] == []


def test_the_reply_that_stopped_a_worker_for_a_minute_is_read_at_once() -> None:
    work = _works(2_500)["named call, spaces, whole"]
    assert seconds(work, best_of=1) < 0.1


def test_a_token_of_an_ordinary_answer_takes_a_few_microseconds() -> None:
    words = [
        "So",
        "**bold**",
        "words,",
        "a",
        "<",
        "b,",
        "[a",
        "link](x),",
        "`code`",
        "and",
        "1.",
        "a",
        "list.\n",
    ]
    tokens = [f"{word} " for word in words] * 500
    tools = known_tools([WEATHER, NOW])

    def read() -> None:
        reader = ChunkReader(tools)
        for token in tokens:
            reader.add({"choices": [{"delta": {"content": token}}]})
            reader.take()

    assert seconds(read, best_of=5) / len(tokens) < 10e-6


@pytest.mark.parametrize("before", ["", "token ", "x-", "-", "Bearer "])
def test_a_token_of_three_parts_is_masked_whatever_stands_before_it(before: str) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
    assert token not in Redactor()(f"see {before}{token} there")
