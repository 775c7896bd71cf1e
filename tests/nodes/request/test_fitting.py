"""Whatever a conversation holds, the request fits (promise P6)."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.engine.kept import pointer, result_id
from core.models.estimate import message_tokens, messages_tokens
from nodes.request.fitting import cut, fitting, middle_out


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


def call(number: int, arguments: str) -> dict[str, Any]:
    """A call of a tool."""
    function = {"name": "write", "arguments": arguments}
    return {"id": f"c{number}", "type": "function", "function": function}


@given(
    st.lists(
        st.dictionaries(st.text(max_size=9), SHORT | LONG | st.integers(), max_size=4),
        min_size=1,
        max_size=12,
    ),
    st.integers(600, 4000),
)
def test_long_arguments_are_shortened_and_can_still_be_parsed(
    given_arguments: list[dict[str, Any]], budget: int
) -> None:
    """They cannot be left out: a call that was just made was refused, again and again."""
    calls = [call(n, json.dumps(arguments)) for n, arguments in enumerate(given_arguments)]
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "Write it down."},
        {"role": "assistant", "content": "", "tool_calls": calls},
        *({"role": "tool", "content": "word " * 900, "tool_call_id": c["id"]} for c in calls),
    ]
    kept = fitting(history, budget)
    assert kept[0] == history[0]
    made = kept[1].get("tool_calls", [])
    assert [message["tool_call_id"] for message in kept[2:]] == [c["id"] for c in made]
    assert made, "the newest call is gone"
    assert made[-1]["id"] == calls[-1]["id"]
    for one in made:
        assert isinstance(json.loads(one["function"]["arguments"]), dict)
    # What a call and its result need at least may be more than there is.
    assert messages_tokens(kept) <= max(budget, 250 * len(calls))


def test_a_short_call_keeps_its_arguments() -> None:
    texts = json.dumps({"place": "x", "text": "word " * 9000})
    message = {"role": "assistant", "content": "", "tool_calls": [call(0, "{}"), call(1, texts)]}
    short = cut(message, 500)
    assert short["tool_calls"][0] == call(0, "{}")
    arguments = json.loads(short["tool_calls"][1]["function"]["arguments"])
    assert arguments["place"] == "x"
    assert arguments["text"].startswith("word word")
    assert "left out" in arguments["text"]
    assert message_tokens(short) <= 500


def test_the_way_to_read_on_stays_under_a_result() -> None:
    end = pointer(result_id("r", "c"), shown=8000, kept=90_000, total=90_000)
    for body in ("word " * 1600, "港" * 8000):
        short = cut({"role": "tool", "content": body + end, "tool_call_id": "c"}, 100)
        assert short["content"].endswith(end)
        assert "left out" in short["content"]


def test_a_long_message_of_the_past_hides_nothing_before_it() -> None:
    """Nothing was left of a document that had been talked about, nor of what was said before it."""
    history = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "BEGIN " + "word " * 20_000},
        {"role": "assistant", "content": "A fine document."},
        {"role": "user", "content": "What was in it?"},
    ]
    kept = fitting(history, 4000)
    assert len(kept) == len(history)
    assert kept[2]["content"].startswith("BEGIN word")
    assert messages_tokens(kept) <= 4000
