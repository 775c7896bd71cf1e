"""Each dialect by examples, in one piece and character by character; the page that lists them."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from core.models.errors import ModelError
from core.models.wire.chunks import SHOWN_CALL, ChunkReader
from core.models.wire.dialects.catalogue import DIALECTS
from core.models.wire.dialects.grammar import GRAMMAR, Grammar
from core.models.wire.pieces import ModelAnswer
from core.models.wire.sse import SseParser
from core.models.wire.tools import known_tools
from tests.support.gateways import NOW, WEATHER

PAGE = Path(__file__).parents[4] / "docs" / "models.md"
TOOLS = known_tools([WEATHER, NOW])
CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
OBJECT = '{"city": "Paris"}'
PYTHON = '[get_weather(city="Paris")]'
PARAMETER = "<parameter=city>\nParis\n</parameter>\n</function>"
INVOKE = '<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n</invoke>'
DSML = (
    '<｜DSML｜invoke name="get_weather">\n'
    '<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n</｜DSML｜invoke>'
)

EXAMPLES: dict[str, list[str]] = {
    "hermes": [
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"<tool_call>{CALL}",
        f"<tool_call>{CALL}<|im_end|>",
        f"<tool_call>[{CALL}]</tool_call>",
        f"<tool_call>{CALL}}}</tool_call>",
        '<tool_call>{"name": "get_weather", "parameters": "{\\"city\\": \\"Paris\\"}"}</tool_call>',
    ],
    "qwen-coder": [
        f"<tool_call>\n<function=get_weather>\n{PARAMETER}\n</tool_call>",
        f"<function=get_weather>\n{PARAMETER}",
        f"<seed:tool_call><function=get_weather>{PARAMETER}</seed:tool_call>",
        f"<function=get_weather>{OBJECT}</function>",
    ],
    "glm": [
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>",
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>",
    ],
    "mistral": [
        f"[TOOL_CALLS][{CALL}]",
        f"[TOOL_CALLS]get_weather[ARGS]{OBJECT}",
        f"[TOOL_CALLS]get_weather[CALL_ID]a1[ARGS]{OBJECT}</s>",
    ],
    "llama": [
        f"<|python_tag|>{CALL}<|eom_id|>",
        f"<|python_tag|>{CALL}",
        f"<|python_start|>{PYTHON}<|python_end|>",
        PYTHON,
    ],
    "lfm": [f"<|tool_call_start|>{PYTHON}<|tool_call_end|>"],
    "deepseek": [
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        f"{OBJECT}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        f"{OBJECT}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        f"<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{OBJECT}<｜tool▁call▁end｜>",
        f"<｜DSML｜function_calls>\n{DSML}\n</｜DSML｜function_calls>",
        f"<｜DSML｜tool_calls>\n{DSML}\n</｜DSML｜tool_calls>",
    ],
    "kimi": [
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
        f"<|tool_call_argument_begin|>{OBJECT}<|tool_call_end|><|tool_calls_section_end|>",
        "<|tool_call_begin|>functions.get_weather:12<|tool_call_argument_begin|>"
        f"{OBJECT}<|tool_call_end|>",
    ],
    "minimax": [
        f"<minimax:tool_call>\n{INVOKE}\n</minimax:tool_call>",
        f"<function_calls>\n{INVOKE}\n</function_calls>",
        '<function_calls>get_weather(city="Paris")</function_calls>',
    ],
    "gemma": [
        '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|>',
        "<start_function_call>call:get_weather{city:<escape>Paris<escape>}<end_function_call>",
        '```tool_code\nget_weather(city="Paris")\n```',
        '```tool_code\nprint(get_weather(city="Paris"))\n```',
    ],
    "harmony": [
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
        f"{OBJECT}<|call|>",
        f"<|start|>assistant<|channel|>commentary to=get_weather<|message|>{OBJECT}",
    ],
    "granite, phi": [f"<|tool_call|>[{CALL}]<|/tool_call|>", f"<|tool_call|>[{CALL}]"],
    "command": [
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", "parameters": '
        f"{OBJECT}}}]<|END_ACTION|>",
    ],
    "others": [
        f"<TOOLCALL>[{CALL}]</TOOLCALL>",
        f"<tool_calls>[{CALL}]</tool_calls>",
        f"<function_call>{CALL}</function_call>",
        f"<|action_start|><|plugin|>{CALL}<|action_end|>",
        f'<|tools_prefix|>[{{"get_weather": {OBJECT}}}]<|tools_suffix|>',
    ],
    "bare JSON": [
        CALL,
        f"[{CALL}]",
        f"  {CALL}\n",
        f"```json\n{CALL}\n```",
        f"```\n[{CALL}]\n```",
        f'{{"type": "function", "function": {CALL}}}',
        f'{{"function": {CALL}}}',
        f'{{"parameters": {OBJECT}, "name": "get_weather"}}',
        f'{{"tool_calls": [{CALL}]}}',
        f'{{"name": "functions.get_weather", "arguments": {OBJECT}}}',
    ],
}
TEXTS = [(name, text) for name, texts in EXAMPLES.items() for text in texts]


def read(pieces: list[str], tools: Any = TOOLS, grammar: Grammar = GRAMMAR) -> ModelAnswer:
    """What an answer in these pieces comes to."""
    reader, answer = ChunkReader(tools, grammar=grammar), ModelAnswer()
    for piece in pieces:
        reader.add({"choices": [{"delta": {"content": piece}}]})
        answer.add(reader.take())
    reader.add({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    reader.end()
    return answer.add(reader.take())


def test_each_dialect_has_an_example() -> None:
    assert [dialect.name for dialect in DIALECTS] == list(EXAMPLES)


TAGGED = [(name, text) for name, text in TEXTS if text[0] == "<" and name != "harmony"]


@pytest.mark.parametrize(
    ("before", "text"),
    [
        *(("", text) for _, text in TEXTS),
        *(("Let me look.\n", text) for _, text in TAGGED),
    ],
)
def test_a_call_is_run(before: str, text: str) -> None:
    for pieces in ([before + text], list(before + text)):
        answer = read(pieces)
        calls = [(call.name, call.arguments) for call in answer.calls]
        assert (calls, answer.text.strip()) == (
            [("get_weather", {"city": "Paris"})],
            before.strip(),
        )
        assert answer.invalid == ()
        assert answer.notices == []


@pytest.mark.parametrize("text", [text for _, text in TAGGED])
def test_a_call_that_is_nearly_right_is_answered_with_a_correction(text: str) -> None:
    broken = text.replace("Paris", '\x00"Paris').replace("city", "{<")
    answer = read([broken])
    if not answer.calls:
        assert [call.name for call in answer.invalid] == ["get_weather"]
        assert answer.text.strip() == ""


@pytest.mark.parametrize(("name", "text"), TEXTS)
def test_a_call_of_an_unknown_tool_is_shown_and_said(name: str, text: str) -> None:
    other = text.replace("get_weather", "rm")
    answer = read([other])
    assert answer.calls == answer.invalid == ()
    if name not in ("bare JSON", "harmony") and text[0] == "<":
        assert [notice.text for notice in answer.notices] == [SHOWN_CALL]


@pytest.mark.parametrize("text", [text for _, text in TAGGED])
def test_a_call_without_any_tool_offered_is_shown_and_said(text: str) -> None:
    assert [notice.text for notice in read([text], tools={}).notices] == [SHOWN_CALL]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Bob", "age": 3}',
        '{"name": "now"}',
        '{"name": "get_weather", "unit": "C"}',
        '{"type": "object", "properties": {}}',
        "{not JSON",
        "[1, 2, 3]",
        '```json\n{"name": "Bob"}\n```',
        "```python\nprint(1)\n```",
        f"```json\n{CALL}\n```\nThis is how a call looks.",
        "analysis of the numbers: fine",
        "an answer",
        "HTML has <s>struck</s> text",
        "<thinkpad> is a word",
        "Think <b>hard</b> about <thinkpad> and </body>",
        "Tokens: <|end|>",
    ],
)
def test_what_only_looks_like_a_call_is_text(text: str) -> None:
    for pieces in ([text], list(text)):
        answer = read(pieces)
        assert (answer.text, answer.calls, answer.invalid) == (text, (), ())


ENDS = [*GRAMMAR.ends, "</s>", "<|end|>"]


@pytest.mark.parametrize("token", ENDS)
def test_a_token_that_ends_the_turn_ends_the_answer(token: str) -> None:
    assert read([f"Hello.{token}"]).text == "Hello."
    assert read(list(f"Hello.{token}")).text == "Hello."


@pytest.mark.parametrize("token", GRAMMAR.ends)
def test_what_comes_behind_the_end_of_the_turn_is_dropped(token: str) -> None:
    assert read(["Hello.", token[:2], f"{token[2:]}\nuser\nAnd ", "now?"]).text == "Hello."
    assert read([f"In code: `{token}`."]).text == f"In code: `{token}`."


TAGS = [
    "think",
    "thinking",
    "seed:think",
    "mm:think",
    "thought",
    "reasoning",
    "longcat_think",
    "think_fast",
]
THINKING = [(f"<{tag}>", f"</{tag}>") for tag in TAGS]


@pytest.mark.parametrize(("begin", "end"), [*THINKING, *GRAMMAR.thinking.items()])
def test_thinking_is_known_by_the_shape_of_its_tags(begin: str, end: str) -> None:
    for text in (f"{begin}\nI add.{end}\n\nFour.", f"I add.{end}\nFour.", f"I add.{end}Four."):
        for pieces in ([text], list(text)):
            answer = read(pieces)
            assert (answer.text, answer.reasoning) == ("Four.", "I add.")


def test_random_walks_through_all_dialects_end_without_a_traceback() -> None:
    chance = random.Random(7)
    words = [*GRAMMAR.kinds, *(text for _, text in TEXTS), "Hello", " ", "\n", "{", "}", '"', "```"]
    for _ in range(1000):
        text = "".join(chance.choices(words, k=chance.randint(1, 8)))
        text = text[: chance.randint(1, len(text))] if chance.random() < 0.3 else text
        places = sorted(chance.randrange(len(text) + 1) for _ in range(chance.randint(0, 6)))
        pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
        whole, cut = _outcome([text]), _outcome(pieces)
        assert whole == cut


def test_no_token_that_is_not_meant_for_people_is_shown() -> None:
    chance = random.Random(11)
    hidden = [word for word, kind in GRAMMAR.kinds.items() if kind in ("end", "noise")]
    words = [*GRAMMAR.kinds, "Hello", " ", "\n", "{", "}"]
    for _ in range(1000):
        try:
            answer = read(chance.choices(words, k=chance.randint(1, 8)))
        except ModelError:
            continue
        assert answer.notices or not any(word in answer.text for word in hidden)


def test_random_bytes_of_a_server_end_in_an_answer_or_an_error() -> None:
    chance = random.Random(13)
    words = [*GRAMMAR.kinds, *(text for _, text in TEXTS), "Hello ✓", "\n", "\ud83d"]
    for _ in range(1000):
        chunks = [_chunk(chance, words) for _ in range(chance.randint(1, 8))]
        raw = b"".join(chance.choices(chunks, k=len(chunks)))
        raw = raw[: chance.randint(1, len(raw))] if chance.random() < 0.5 else raw
        parser, reader = SseParser(), ChunkReader(TOOLS)
        at = 0
        try:
            while at < len(raw):
                step = chance.randint(1, 40)
                for found in parser.feed(raw[at : at + step]):
                    reader.add(found)
                at += step
            for found in parser.finish():
                reader.add(found)
            reader.end()
        except ModelError:
            reader.flush()
        ModelAnswer().add(reader.take())


def _chunk(chance: random.Random, words: list[str]) -> bytes:
    """An event as a server may send it, or something like one."""
    word = chance.choice(words)
    piece = word[: chance.randint(0, len(word))] if chance.random() < 0.3 else word
    function = {"name": chance.choice(["now", "", None, piece]), "arguments": piece}
    call = {"index": chance.randint(0, 3), "id": piece, "function": function}
    delta: Any = chance.choice(
        [
            {"content": piece},
            {"reasoning_content": piece},
            {"content": [{"type": "text", "text": piece}, piece, None]},
            {"reasoning_details": [{"text": piece}, 7]},
            {"tool_calls": [call, None, piece]},
            {"tool_calls": call},
            piece,
        ]
    )
    finish = chance.choice([None, None, None, "stop", "tool_calls", "length", 7])
    usage = chance.choice([None, {"prompt_tokens": piece, "completion_tokens": 2**70}, piece])
    chunk = {"choices": [{"delta": delta, "finish_reason": finish}], "usage": usage}
    shapes: list[Any] = [chunk, chunk, chunk, {"choices": piece}, {"error": piece}, [chunk], piece]
    return b"data: " + json.dumps(chance.choice(shapes)).encode() + b"\n\n"


def _outcome(pieces: list[str]) -> tuple[object, ...]:
    try:
        answer = read(pieces)
    except ModelError as error:
        return (error.kind,)
    calls = [(call.name, call.arguments) for call in answer.calls]
    # Raw markup is never a finished answer without a word about it.
    opening = any(answer.text.lstrip().startswith(d.word) for x in DIALECTS for d in x.openers)
    assert not opening or answer.calls or answer.invalid or answer.notices
    return answer.text, answer.reasoning, calls, len(answer.invalid)


def test_the_page_lists_all_dialects() -> None:
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| `([^`]+)` \|$", PAGE.read_text(), re.MULTILINE)
    listed = {name: (models, file) for name, models, file in rows}
    for dialect in DIALECTS:
        models, file = listed[dialect.name]
        source = PAGE.parents[1] / "core/models/wire/dialects" / file
        assert models == dialect.models.replace("|", "\\|"), dialect.name
        assert f'"{dialect.name}"' in source.read_text()


def test_a_dialect_is_added_as_the_page_says() -> None:
    section = PAGE.read_text().split("### A dialect of your own")[1]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    made: dict[str, Any] = {}
    exec(blocks[0], made)  # noqa: S102 - the page is ours
    grammar = Grammar((*DIALECTS, made["PARROT"]))
    answer = read(list('Squawk.\n@call get_weather {"city": "Paris"} @end\n'), grammar=grammar)
    assert [(call.name, call.arguments) for call in answer.calls] == [
        ("get_weather", {"city": "Paris"})
    ]
    assert answer.text.strip() == "Squawk."
