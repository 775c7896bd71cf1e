"""The splitter: text, thinking and calls written as text, wherever the pieces are cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from core.models.wire.collector import Collector
from core.models.wire.pieces import ModelAnswer
from core.models.wire.splitter import Splitter
from core.models.wire.tools import known_tools
from tests.support.gateways import NOW, WEATHER

TOOLS = known_tools([WEATHER, NOW])
PARIS = ("get_weather", {"city": "Paris"})
HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
QWEN = "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>"

Calls = list[tuple[str, dict[str, Any]]]
Result = tuple[str, str, Calls]


def split(
    pieces: list[str], *, close_only: bool = False, complete: bool = True, tools: Any = TOOLS
) -> Result:
    """Text, thinking and calls of an answer that came in these pieces, one network read each."""
    answer, out = ModelAnswer(), Collector()
    splitter = Splitter(tools, out, close_only=close_only)
    for piece in pieces:
        splitter.feed(piece)
        answer.add(out.take())
    splitter.finish(complete=complete)
    answer.add(out.take())
    calls = [(call.name, call.arguments) for call in splitter.calls]
    return answer.text, answer.reasoning, calls


CASES: dict[str, tuple[str, Result]] = {
    "plain": ("Hello *you*", ("Hello *you*", "", [])),
    "empty lines before the answer go": ("\n \n  Hello", ("  Hello", "", [])),
    "think": ("<think>\nhm\n</think>\n\nHello", ("Hello", "hm\n", [])),
    "thinking": ("<thinking>hm</thinking>Hello", ("Hello", "hm", [])),
    "magistral": ("[THINK]hm[/THINK]Hello", ("Hello", "hm", [])),
    "think twice": ("<think>a</think>b\n<think>c</think>d", ("b\nd", "ac", [])),
    "unclosed": ("<think>for ever <b", ("", "for ever <b", [])),
    "within a line it is text": ("Use <think> here", ("Use <think> here", "", [])),
    "in a fence it is text": (
        "```\n<think>\n</think>\n```\nDone",
        ("```\n<think>\n</think>\n```\nDone", "", []),
    ),
    "in inline code it is text": ("The tag `</think>`\nends", ("The tag `</think>`\nends", "", [])),
    "close only": ("hm\n</think>\n\nHello", ("Hello", "hm\n", [])),
    "close within a line is text": ("a </think> b", ("a </think> b", "", [])),
    "close before anything": ("</think>\n\nHello", ("Hello", "", [])),
    "close after thinking is text": (
        "<think>a</think>b\n</think>\nc",
        ("b\n</think>\nc", "a", []),
    ),
    "harmony": (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        ("Hi", "hm", []),
    ),
    "harmony call": (
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
        '{"city":"Paris"}<|call|>',
        ("", "", [PARIS]),
    ),
    "harmony words in an answer": ("Tokens: <|end|>", ("Tokens: <|end|>", "", [])),
    "a header without end": (
        "<|channel|>" + "so " * 200 + "<|message|>",
        ("<|channel|>" + "so " * 200 + "<|message|>", "", []),
    ),
    "hermes": (f"Let me look.\n{HERMES}\n", ("Let me look.\n\n", "", [PARIS])),
    "hermes twice": (f"{HERMES}\n{HERMES}", ("", "", [PARIS, PARIS])),
    "hermes unclosed": (HERMES.removesuffix("\n</tool_call>"), ("", "", [PARIS])),
    "hermes of an unknown tool": (
        HERMES.replace("get_weather", "rm"),
        (HERMES.replace("get_weather", "rm"), "", []),
    ),
    "hermes in a fence": (f"```\n{HERMES}\n```", (f"```\n{HERMES}\n```", "", [])),
    "hermes in inline code": ("Write `<tool_call>`.", ("Write `<tool_call>`.", "", [])),
    "hermes broken": (
        '<tool_call>{"name": "get_wea</tool_call> ok',
        ('<tool_call>{"name": "get_wea</tool_call> ok', "", []),
    ),
    "hermes after thinking": (f"<think>hm</think>\n{HERMES}", ("", "hm", [PARIS])),
    "qwen": (f"<tool_call>\n{QWEN}\n</tool_call>", ("", "", [PARIS])),
    "qwen without wrapper": (QWEN, ("", "", [PARIS])),
    "qwen with half a wrapper": (f"{QWEN}\n</tool_call>", ("", "", [PARIS])),
    "mistral list": (
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "now"}]',
        ("", "", [PARIS, ("now", {})]),
    ),
    "mistral named": (
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]now[ARGS]{}',
        ("", "", [PARIS, ("now", {})]),
    ),
    "pythonic": ('[get_weather(city="Paris"), now()]', ("", "", [PARIS, ("now", {})])),
    "pythonic with code": (
        "[get_weather(city=open('x'))]",
        ("[get_weather(city=open('x'))]", "", []),
    ),
    "a list is text": ("[now, later]", ("[now, later]", "", [])),
    "a link is text": (
        "[get_weather](https://example.org)",
        ("[get_weather](https://example.org)", "", []),
    ),
    "pythonic later is text": ("See [now()]", ("See [now()]", "", [])),
    "llama": (
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}<|eom_id|>',
        ("", "", [PARIS]),
    ),
    "llama twice": (
        '<|python_tag|>{"name": "now", "parameters": {}}; {"name": "now", "parameters": {}}',
        ("", "", [("now", {}), ("now", {})]),
    ),
    "lone brackets": ("a < b [c] <d> ~~e~~ ``f``", ("a < b [c] <d> ~~e~~ ``f``", "", [])),
}


@pytest.mark.parametrize("name", CASES)
def test_in_one_piece(name: str) -> None:
    text, expected = CASES[name]
    assert split([text]) == expected


@pytest.mark.parametrize("name", CASES)
def test_character_by_character(name: str) -> None:
    text, expected = CASES[name]
    assert split(list(text)) == expected


def test_without_tools_nothing_is_a_call() -> None:
    assert split([HERMES], tools={}) == (HERMES, "", [])


def test_a_close_only_model_begins_with_thinking() -> None:
    assert split(["hm", "</th", "ink>\n\nHello"], close_only=True) == ("Hello", "hm", [])


def test_a_close_only_model_may_open_its_thinking_after_all() -> None:
    assert split(["<th", "ink>hm</think>Hello"], close_only=True) == ("Hello", "hm", [])


def test_a_close_only_model_that_did_not_think_has_answered() -> None:
    assert split(["Hel", "lo"], close_only=True) == ("Hello", "Hello", [])


def test_a_close_only_model_that_was_cut_off_was_thinking() -> None:
    assert split(["Hel", "lo"], close_only=True, complete=False) == ("", "Hello", [])


def test_half_a_call_is_not_shown_and_not_run() -> None:
    out = Collector()
    splitter = Splitter(TOOLS, out)
    splitter.feed('Well.\n<tool_call>{"name": "get_weather", "arguments": {"city": "Par')
    splitter.finish(complete=False)
    assert ModelAnswer().add(out.take()).text == "Well.\n"
    assert splitter.unfinished_call
    assert splitter.calls == []


def test_xml_parameters_are_read_by_the_tools_schema() -> None:
    tool = {
        "function": {
            "name": "f",
            "parameters": {"properties": {"s": {"type": "string"}, "n": {"type": "integer"}}},
        }
    }
    text = "<function=f><parameter=s>42</parameter><parameter=n>42</parameter><parameter=l>[1]</parameter></function>"
    calls = split([text], tools=known_tools([tool]))[2]
    assert calls == [("f", {"s": "42", "n": 42, "l": [1]})]


def test_text_is_not_held_back_longer_than_needed() -> None:
    out = Collector()
    splitter = Splitter(TOOLS, out)
    shown: list[str] = []
    for piece in ["Hello ", "<", "b> ", "[x", "] done"]:
        splitter.feed(piece)
        shown.append(ModelAnswer().add(out.take()).text)
    assert shown == ["Hello ", "", "<b> ", "[x", "] done"]


WORDS = st.sampled_from(
    [
        *("<think>", "</think>", "</thi", "[/THINK]", "<|channel|>", "<|message|>", "<|end|>"),
        *("<tool_call>", "</tool_call>", HERMES, QWEN, "[TOOL_CALLS]", "<|python_tag|>"),
        *("[get_weather(", "[now()]", "analysis", "Hello", " ", "\n", "\n\n"),
        *("```", "`", "~~~", "<", "["),
    ]
)


@limits(deadline=None)
@given(words=st.lists(WORDS, max_size=12), cuts=st.lists(st.integers(0, 400), max_size=12))
@pytest.mark.parametrize("close_only", [False, True])
def test_cuts_change_nothing(words: list[str], cuts: list[int], close_only: bool) -> None:
    text = "".join(words)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    whole = split([text], close_only=close_only)
    assert split(pieces, close_only=close_only) == whole
    assert split(list(text), close_only=close_only) == whole
