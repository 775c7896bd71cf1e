"""The parser of event streams, and that cuts between network reads change nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from core.models.errors import ModelError
from core.models.wire.chunks import ChunkReader
from core.models.wire.pieces import ModelAnswer
from core.models.wire.sse import MAX_LINE, SseParser
from core.models.wire.tools import known_tools
from tests.support.gateways import NOW, WEATHER
from tests.support.quirks_server import load_scenarios

TOOLS = known_tools([WEATHER, NOW])
RECORDED = {
    name: "".join(block + "\n\n" for block in scenario["blocks"]).encode()
    for name, scenario in load_scenarios().items()
    if scenario["kind"] == "sse"
}


def parse(*reads: bytes) -> list[dict[str, Any]]:
    """All chunks of these network reads."""
    parser = SseParser()
    chunks = [chunk for read in reads for chunk in parser.feed(read)]
    return chunks + ([] if parser.done else parser.finish())


FORMS: list[tuple[bytes, list[dict[str, Any]]]] = [
    (b'data: {"a":1}\n\n', [{"a": 1}]),
    (b'data:{"a":1}\r\n\r\n', [{"a": 1}]),
    (b'\xef\xbb\xbfdata: {"a":1}\n\n', [{"a": 1}]),
    (b'\n\n: hello\nid: 7\nretry: 5\nevent: message\ndata: {"a":1}\n\n', [{"a": 1}]),
    (b'data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
    (b'data: {"a":1}\ndata: {"b":2}\n\n', [{"a": 1}, {"b": 2}]),
    (b'data: {"a":1}', [{"a": 1}]),
    (b"data: ping\n\ndata: [PING]\n\ndata: 17\n\n", []),
    (b'data: {"a":"\\ud83d"}\n\n', [{"a": "\ud83d"}]),
    (b'event: error\ndata: {"error":{"message":"x"}}\n\n', [{"error": {"message": "x"}}]),
    (b'event: error\ndata: {"message":"x"}\n\n', [{"error": {"message": "x"}}]),
    (b"event: error\ndata: boom\n\n", [{"error": {"message": "boom"}}]),
    (b'error: {"code":400}\n\n', [{"error": {"code": 400}}]),
    (b' {"choices": []} ', [{"choices": []}]),
    (b"data: [DONE]\n\n", []),
    (b"", []),
]


@pytest.mark.parametrize(("data", "expected"), FORMS)
def test_forms_of_events(data: bytes, expected: list[dict[str, Any]]) -> None:
    assert parse(data) == expected
    assert parse(*(bytes([byte]) for byte in data)) == expected


@pytest.mark.parametrize(
    "data",
    [
        b'data: {"a":\n\ndata: {"b":2}\n\n',
        b"<html><body>502 Bad Gateway</body></html>",
        b"[1, 2]",
        b"data: {" + b"x" * MAX_LINE + b"\n",
        b"{" + b" " * MAX_LINE,
    ],
)
def test_garbage_is_named(data: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        parse(data)
    assert caught.value.kind == "garbage"


def test_done_ends_the_stream() -> None:
    parser = SseParser()
    assert parser.feed(b'data: {"a":1}\n\ndata: [DONE]\n\n') == [{"a": 1}]
    assert parser.done
    assert parser.is_event_stream


def understand(reads: list[bytes]) -> object:
    """What an answer comes to, ids of calls left out."""
    parser, reader, answer = SseParser(), ChunkReader(TOOLS), ModelAnswer()
    try:
        for read in reads:
            for chunk in parser.feed(read):
                reader.add(chunk)
            answer.add(reader.take())
        for chunk in parser.finish():
            reader.add(chunk)
        reason = reader.end()
    except ModelError as error:
        reader.flush()
        answer.add(reader.take())
        return error.kind, answer.text, answer.reasoning
    answer.add(reader.take())
    calls = [(call.name, call.arguments) for call in answer.calls]
    return reason, answer.text, answer.reasoning, calls, reader.reported_usage


@limits(deadline=None)
@given(name=st.sampled_from(sorted(RECORDED)), cuts=st.lists(st.integers(0, 5000), max_size=20))
def test_cuts_change_nothing(name: str, cuts: list[int]) -> None:
    data = RECORDED[name]
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    reads = [data[a:b] for a, b in pairwise(places)]
    assert understand(reads) == understand([data])


@pytest.mark.parametrize("name", RECORDED)
def test_byte_by_byte(name: str) -> None:
    data = RECORDED[name]
    assert understand([bytes([byte]) for byte in data]) == understand([data])
