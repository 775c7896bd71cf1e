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


@given(HISTORIES, st.integers(600, 8000))
def test_keeps_the_newest_in_order(history: list[dict[str, Any]], budget: int) -> None:
    numbered = [{**message, "n": n} for n, message in enumerate(history)]
    kept = [message["n"] for message in fitting(numbered, budget)]
    assert kept == sorted(kept)
    asked = [n for n, message in enumerate(history) if message["role"] == "user"]
    newest = [n for n in kept if not asked or n > asked[-1]]
    assert newest == newest[:1] or newest[-1] == len(history) - 1
    if asked:
        assert asked[-1] in kept, "the question is gone"


@given(HISTORIES, st.integers(300, 8000))
def test_a_result_never_stands_without_what_it_belongs_to(
    history: list[dict[str, Any]], budget: int
) -> None:
    history = [{"role": "user", "content": "first"}, *history]
    numbered = [{**message, "n": n} for n, message in enumerate(history)]
    kept = fitting(numbered, budget)
    for message in kept:
        if message["role"] == "tool":
            n = message["n"]
            while history[n]["role"] == "tool":
                n -= 1
            assert n in {m["n"] for m in kept}


def test_the_question_stays_however_much_the_tools_brought() -> None:
    """In an 8K context one long result pushed its own call and the question out."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history: list[dict[str, Any]] = [{"role": "user", "content": "What is in the file?"}]
    for _ in range(12):
        history += [
            {"role": "assistant", "content": "", "tool_calls": [call, call, call]},
            *({"role": "tool", "content": "word " * 4000, "tool_call_id": "c"} for _ in range(3)),
        ]
    kept = fitting(history, 4000)
    assert kept[0] == history[0]
    assert [message["role"] for message in kept[-4:]] == ["assistant", "tool", "tool", "tool"]
    assert messages_tokens(kept) <= 4000 + 3 * 32


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
