"""Requests: which parameters a server is sent."""

from __future__ import annotations

import pytest

from core.models.request import Options, build, encode
from core.models.servers.capabilities import DEFAULT, Capabilities
from tests.support.gateways import WEATHER

U = {"role": "user", "content": "U"}


def test_usage_is_asked_for_only_where_it_is_taken() -> None:
    options = Options("m")
    assert "stream_options" not in build([U], options, DEFAULT)
    known = Capabilities(stream_usage=True)
    assert build([U], options, known)["stream_options"] == {"include_usage": True}
    refused = Capabilities(stream_usage=True, refused_parameters=("stream_options",))
    assert "stream_options" not in build([U], options, refused)
    whole = build([U], options, Capabilities(stream_usage=True, streaming=False))
    assert (whole["stream"], "stream_options" in whole) == (False, False)


@pytest.mark.parametrize("known", [Capabilities(tools=False), DEFAULT])
def test_tools_are_left_out_for_servers_without(known: Capabilities) -> None:
    body = build([U], Options("m", [WEATHER], "required"), known)
    assert ("tools" in body) == (known.tools is not False)


def test_anything_can_be_encoded() -> None:
    assert encode({"a": "\ud83d", "b": 2**70, "c": ["\udc4b"], "d": (1,)}) == (
        '{"a":"\ufffd","b":"1180591620717411303424","c":["\ufffd"],"d":[1]}'.encode()
    )
