"""The gateway and time: rude ends, silence, cancelling, connections that are used again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from core.models.errors import ModelError
from core.models.gateway import Gateway
from core.models.wire.pieces import Piece, TextPiece
from core.settings.groups import Settings
from core.store.redis import RedisClient
from tests.support.gateways import ASK, TELLING, Timing, ask, opened
from tests.support.quirks_server import (
    DONE,
    chunk,
    say,
    serve,
    start_stream,
)
from tests.support.waiting import wait_until

Settle = Callable[..., Settings]


async def test_a_finished_answer_survives_a_rude_end(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        await response.write(chunk({"content": "Hello"}) + chunk({}, "stop"))
        await asyncio.sleep(0.02)
        if request.transport is not None:
            request.transport.abort()
        return response

    async with serve(handle) as server:
        result = await ask(gateway, at(server.base_url))
    assert result.text == "Hello"
    assert result.finish is not None
    assert result.finish.reason == "stop"


async def test_a_server_that_never_closes_does_not_hold_up_a_finished_answer(
    redis: RedisClient, settings: Settings, at: Settle
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        await response.write(chunk({"content": "Hello"}) + chunk({}, "stop"))
        await asyncio.sleep(30)
        return response

    quick = Timing(finish_grace=0.05)
    async with serve(handle) as server, opened(redis, settings, timing=quick) as gateway:
        result = await ask(gateway, at(server.base_url))
    assert result.finish is not None
    assert result.finish.reason == "stop"


async def test_silence_is_said_and_then_given_up(telling: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        await response.write(chunk({"content": "Hel"}))
        await asyncio.sleep(30)
        return response

    seen: list[Piece] = []

    async def listen(settings: Settings) -> None:
        stream = telling.stream(ASK, None, settings=settings, user_id="u", thread_id="t")
        async for pieces in stream:
            seen.extend(pieces)

    async with serve(handle) as server:
        with pytest.raises(ModelError) as caught:
            await listen(at(server.base_url, idle_timeout=TELLING.notice_after * 2.5))
    assert caught.value.kind == "stalled"
    assert seen[0] == TextPiece("Hel")
    assert [type(piece).__name__ for piece in seen[1:]] == ["NoticePiece", "UsagePiece"]


async def test_comments_are_signs_of_life_but_no_answer(telling: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        for _ in range(30):
            await response.write(b": ping\n\n")
            await asyncio.sleep(TELLING.notice_after / 10)
        await response.write(chunk({"content": "Hello"}) + chunk({}, "stop") + DONE)
        return response

    async with serve(handle) as server:
        result = await ask(
            telling, at(server.base_url, first_byte_timeout=TELLING.notice_after * 2)
        )
    assert result.text == "Hello"
    assert "Still waiting" in result.notices[0].text


@pytest.mark.parametrize("after", ["nothing", "headers", "text"])
async def test_cancelling_closes_the_connection_at_once(
    gateway: Gateway, at: Settle, after: str
) -> None:
    waiting = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        if after == "nothing":
            waiting.set()
            await asyncio.sleep(30)
        response = await start_stream(request)
        if after == "text":
            await response.write(chunk({"content": "Hel"}))
        waiting.set()
        await asyncio.sleep(30)
        return response

    async with serve(handle) as server:
        turn = asyncio.create_task(ask(gateway, at(server.base_url)))
        await asyncio.wait_for(waiting.wait(), 5)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        await wait_until(lambda: server.dropped == 1, timeout=1)


async def test_closing_the_iterator_closes_the_connection(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        await response.write(chunk({"content": "Hel"}))
        await asyncio.sleep(30)
        return response

    async with serve(handle) as server:
        stream = gateway.stream(ASK, None, settings=at(server.base_url), user_id="u", thread_id="t")
        async with aclosing(stream):
            async for _ in stream:
                break
        await wait_until(lambda: server.dropped == 1, timeout=1)


async def test_a_connection_is_used_again(gateway: Gateway, at: Settle) -> None:
    ports: set[Any] = set()

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        return await say(request, "Hello")

    async with serve(handle) as server:
        for _ in range(5):
            await ask(gateway, at(server.base_url))
    assert len(ports) == 1


async def test_a_model_that_never_stops_is_cut_off(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await start_stream(request)
        while True:
            await response.write(chunk({"content": "x" * 500_000}))

    async with serve(handle) as server:
        result = await ask(gateway, at(server.base_url))
        await wait_until(lambda: server.dropped == 1)
    assert result.finish is not None
    assert result.finish.reason == "truncated"
    assert 4_000_000 < len(result.text) < 6_000_000


async def test_an_error_that_never_ends_is_cut_off(gateway: Gateway, at: Settle) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"Boom! " * 1000)

    async with serve(handle) as server:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at(server.base_url))
        await wait_until(lambda: server.dropped == 1)
    assert "Boom!" in caught.value.detail
    assert len(caught.value.detail) < 500
