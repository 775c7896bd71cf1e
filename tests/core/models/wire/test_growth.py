"""No reader of a model's text or a server's bytes takes more than its size's share of time."""

from __future__ import annotations

import pytest

from benchmarks.parsers import seconds, works
from core.logs import Redactor

SMALL, LARGE = 8_000, 32_000
FLOOR = 0.002
"""Seconds below which a time says nothing."""

SMALLER, LARGER = works(SMALL), works(LARGE)


@pytest.mark.parametrize("name", LARGER)
def test_four_times_the_text_takes_at_most_eight_times_as_long(name: str) -> None:
    small = max(FLOOR, seconds(SMALLER[name]))
    assert seconds(LARGER[name]) <= 8 * small


def test_the_reply_that_stopped_a_worker_for_a_minute_is_read_at_once() -> None:
    work = works(2_500)["named call, spaces, whole"]
    assert seconds(work, best_of=1) < 0.1


@pytest.mark.parametrize("before", ["", "token ", "x-", "-", "Bearer "])
def test_a_token_of_three_parts_is_masked_whatever_stands_before_it(before: str) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
    assert token not in Redactor()(f"see {before}{token} there")
