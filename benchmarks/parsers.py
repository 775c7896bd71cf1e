"""`python -m benchmarks.parsers`: everything that reads a model's text or a server's bytes, over
inputs made to be slow. Each must grow with its input and no faster."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from core.logs import PATTERN
from core.models.errors import classify, understand
from core.models.wire.chunks import ChunkReader
from core.models.wire.dialects.grammar import GRAMMAR
from core.models.wire.sse import SseParser
from core.models.wire.tools import known_tools

TOOLS = known_tools(
    [{"function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}]
)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 4_000_000)

Work = Callable[[], object]
"""One reading, ready to be timed."""


def _filled(head: str, again: str, tail: str = "") -> Callable[[int], str]:
    """A text of ``size`` characters that repeats one part."""
    return lambda size: head + again * (max(1, size - len(head) - len(tail)) // len(again)) + tail


TEXTS: dict[str, Callable[[int], str]] = {
    "plain": _filled("", "word "),
    "newlines": _filled("", "\n"),
    "spaces": _filled("", " "),
    "code marks": _filled("x", "`"),
    "code marks with gaps": _filled("x", "` "),
    "tildes": _filled("x\n", "~"),
    "less-than": _filled("", "<"),
    "brackets": _filled("", "["),
    "bracket, spaces": _filled("[", " "),
    "bracket, name": _filled("[", "f"),
    "think": _filled("", "<think>"),
    "end of think": _filled("x", "</think>"),
    "think and end": _filled("", "<think>a</think>\n"),
    "tool_call": _filled("", "<tool_call>"),
    "tool_call and end": _filled("", "<tool_call></tool_call>"),
    "end of tool_call": _filled("", "</tool_call>"),
    "function": _filled("", "<function="),
    "function, spaces": _filled("<function=f", " "),
    "function in tool_call": _filled("<tool_call>", "<function=", "</tool_call>"),
    "function and end": _filled("", "<function=f></function>"),
    "parameter": _filled("<function=f>", "<parameter=", "</function>"),
    "parameter, newlines": _filled("<function=f><parameter=a>", "\n", "</function>"),
    "named call, spaces": _filled("[TOOL_CALLS]a", " ", "x"),
    "named calls": _filled("", "[TOOL_CALLS]f{}"),
    "named calls of nothing": _filled("[TOOL_CALLS]", "[ARGS]"),
    "list of calls": _filled("[TOOL_CALLS][", '{"name":"f"},', '{"name":"f"}]'),
    "python tag": _filled("<|python_tag|>", '{"name":"f"};'),
    "pythonic": _filled("[f()", ",f()", "]"),
    "pythonic, open": _filled("[f(a=", "["),
    "channels": _filled("", "<|channel|>"),
    "messages": _filled("<|channel|>final", "<|message|>"),
    "analysis": _filled("", "<|channel|>analysis<|message|>x<|end|>"),
    "addressed": _filled("<|channel|>commentary to=functions.f<|message|>", "x"),
    "deep JSON": _filled("<tool_call>", "[", "</tool_call>"),
}
CHOSEN = tuple(TEXTS)
"""Those that were slow once; the others are made of all words that open a call."""

PARTS = (
    *(
        " ",
        "\n",
        "a",
        "{",
        "[",
        '"',
        "`",
        "call:f{",
        "<arg_key>",
        "<arg_key>a</arg_key><arg_value>",
    ),
    *('<invoke name="f">', "<invoke ", "<parameter name=", '<parameter name="a">', "<function=f>"),
    *("<｜tool▁call▁begin｜>f", "<|tool_call_begin|>f", "<｜DSML｜invoke name=f>", "f(", '<|"|>'),
)
for opener in ("", *(word for word, kind in GRAMMAR.kinds.items() if kind == "call")):
    for part in (*PARTS, opener):
        if part:
            TEXTS[f"{opener} {part!r}"] = _filled(opener, part)
for word in GRAMMAR.kinds:
    TEXTS.setdefault(f" {word!r}", _filled("", word))
    TEXTS[f"in thinking {word!r}"] = _filled("<think>", word)


BODIES: dict[str, Callable[[int], str]] = {
    "html": _filled("", "<"),
    "scripts": _filled("", "<script"),
    "tags": _filled("", "<a"),
    "overflow": lambda size: _error(_filled("", "input length ")(size)),
    "no model": lambda size: _error(_filled("", "model ")(size)),
    "digits": lambda size: _error(_filled("maximum context length is ", "9")(size)),
    "keys": lambda size: _error(_filled("", "sk-")(size)),
    "context": lambda size: _error(_filled("", "context size ")(size)),
}


def _error(words: str) -> str:
    return orjson.dumps({"error": {"message": words, "code": 500}}).decode()


def _cut(text: str, width: int) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)]


def read_answer(chunks: Iterable[dict[str, Any]]) -> None:
    """Read an answer as the gateway does; what it comes to is of no interest here."""
    reader = ChunkReader(TOOLS)
    try:
        for chunk in chunks:
            reader.add(chunk)
            if reader.too_long:
                break
            reader.take()
        reader.end()
    except ValueError:
        raise
    except Exception as error:
        if type(error).__name__ != "ModelError":
            raise


def _content(pieces: list[str], field: str = "content") -> list[dict[str, Any]]:
    return [
        *({"choices": [{"delta": {field: piece}}]} for piece in pieces),
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    ]


def _calls(size: int, *, own_ids: bool = False, **fields: Any) -> list[dict[str, Any]]:
    deltas = [
        {"tool_calls": [{"id": f"c{n}", **fields} if own_ids else fields]}
        for n in range(size // 10)
    ]
    return [{"choices": [{"delta": delta}]} for delta in deltas]


def _sse(reads: list[bytes]) -> None:
    parser = SseParser()
    for read in reads:
        parser.feed(read)


def _readings(make: Callable[[int], str], size: int) -> dict[str, Work]:
    """A text as a whole answer, as one in small pieces, and as thinking."""
    return {
        "whole": lambda: read_answer(_content([make(size)])),
        "pieces": lambda: read_answer(_content(_cut(make(size), 20))),
        "thinking": lambda: read_answer(_content([make(size)], "reasoning_content")),
    }


def works(size: int, texts: Iterable[str] = TEXTS) -> dict[str, Work]:
    """All readings of about ``size`` characters, by name."""
    found: dict[str, Work] = {}
    for name in texts:
        for how, work in _readings(TEXTS[name], size).items():
            found[f"{name}, {how}"] = work
    for name, make in BODIES.items():
        body = make(size)
        found[f"error: {name}"] = lambda body=body: classify(500, body)
        found[f"words: {name}"] = lambda body=body: understand(body)
    named = _calls(size, index=0, function={"name": "f", "arguments": "x"})
    found["calls: name repeated"] = lambda: read_answer(named)
    closed = _calls(size, index=0, function={"name": "f", "arguments": "{}{}"})
    found["calls: whole again and again"] = lambda: read_answer(closed)
    own = _calls(size, own_ids=True, function={"name": "f", "arguments": "{}"})
    found["calls: ids of their own"] = lambda: read_answer(own)
    line = b"data: {" + b"x" * size
    slow = [line[at : at + 100] for at in range(0, len(line), 100)]
    found["sse: one line in small reads"] = lambda: _sse(slow)
    body = b"{" + line
    whole = [body[at : at + 100] for at in range(0, len(body), 100)]
    found["sse: one body in small reads"] = lambda: _sse(whole)
    many = [b"data: {\n" + b"data: x\n" * (size // 8)]
    found["sse: one event of many lines"] = lambda: _sse(many)
    found["log: tokens"] = lambda: PATTERN.sub("", "-eyJaaaaaaaa" * (size // 12))
    return found


def seconds(work: Work, *, best_of: int = 3) -> float:
    """CPU seconds of this thread, the best of some rounds: others on the machine do not count."""
    times: list[float] = []
    for _ in range(best_of):
        started = time.thread_time()
        work()
        times.append(time.thread_time() - started)
    return min(times)


def main() -> None:
    """Print seconds for each reading and size, and its growth from one size to the next."""
    rows: dict[str, list[float]] = {}
    for size in SIZES:
        for name, work in works(size, CHOSEN).items():
            rows.setdefault(name, []).append(seconds(work, best_of=1))
    for name, times in sorted(rows.items(), key=lambda row: -row[1][-1]):
        shown = " ".join(f"{each:8.4f}" for each in times)
        print(f"{re.sub(' +', ' ', name):40} {shown}")


if __name__ == "__main__":
    main()
