"""Whatever a conversation holds, the request fits (promise P6)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.models.estimate import message_tokens, messages_tokens
from nodes.fitting import cut, fitting, middle_out


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def _repeated(text: str, times: int) -> str:
    return (text or "x") * times


SHORT = st.text(max_size=400)
LONG = st.builds(_repeated, st.text(max_size=40), st.integers(1, 2000))
ROLES = st.sampled_from(["user", "assistant", "tool"])
HISTORIES = st.lists(st.builds(_message, ROLES, SHORT | LONG), min_size=1, max_size=40)


@given(HISTORIES, st.integers(300, 8000))
def test_never_over_the_budget_and_never_empty(history: list[dict[str, Any]], budget: int) -> None:
    kept = fitting(history, budget)
    assert kept
    # the remark that stands for the cut middle is the only thing on top
    assert messages_tokens(kept) <= budget + 32


@given(HISTORIES, st.integers(300, 8000))
def test_keeps_the_newest_in_order(history: list[dict[str, Any]], budget: int) -> None:
    kept = fitting(history, budget)
    assert [m["role"] for m in kept] == [m["role"] for m in history[-len(kept) :]]
    assert len(kept) == 1 or kept[0]["role"] != "tool"


def test_what_fits_is_untouched() -> None:
    history = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    assert fitting(history, 500) == history


def test_a_giant_message_keeps_beginning_and_end() -> None:
    text = "BEGIN " + "word " * 50_000 + " END"
    short = cut({"role": "user", "content": text}, 1000)
    assert short["content"].startswith("BEGIN")
    assert short["content"].endswith("END")
    assert "left out" in short["content"]
    assert message_tokens(short) <= 1032


def test_the_remark_says_how_much_is_missing() -> None:
    assert "characters left out" in middle_out("a" * 100_000, 100)
