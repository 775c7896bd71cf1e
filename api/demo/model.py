"""The scripted model: a small OpenAI-compatible server for `assistant demo`, tests and benchmarks.

It shares the machine with what is shown or measured, so a token costs as little as possible: chunks
are formatted once per answer and written together, one write per tick.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import os
import re
import secrets
import signal
import socket
import time
from collections.abc import AsyncGenerator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import orjson
import uvloop
from aiohttp import web

from api.demo.script import Asked, Reply, ToolCall, reply, understand
from core.errors import ConfigError
from core.home.lifeline import following_parent

MODEL = "scripted-demo"
CONTEXT = 32_768
PACE = 60.0
"""Tokens a second of a demonstration: pleasant to read, and what a good local model reaches."""

TICK = 1 / 30
"""Seconds between writes at that pace."""

AT_ONCE = 500
"""Most chunks in one write when nothing is paced."""

MAX_BODY = 64 * 1024 * 1024
MAX_FAILED = 1000
CHARACTERS_PER_TOKEN = 4
TOKEN = re.compile(r"\s*(?:\w{1,6}|[^\w\s]{1,3})|\s+")
"""Pieces of about the size that tokens have; joined they are the text again."""

HEAD = (
    f'data: {{"id":"chatcmpl-demo","object":"chat.completion.chunk","created":0,"model":"{MODEL}",'
)
DONE = b"data: [DONE]\n\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--fd", type=int, help="number of an inherited listening socket")
    where.add_argument(
        "--port", type=int, help="port on 127.0.0.1; 0 takes a free one and prints it"
    )
    parser.add_argument(
        "--pace", type=float, default=PACE, help="tokens a second; 0: as fast as possible"
    )
    parser.add_argument("--log", type=Path, help="append a JSON line per request to this file")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    if args.fd is not None:
        listener = socket.socket(fileno=args.fd)
    else:
        try:
            listener = socket.create_server(("127.0.0.1", args.port))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot listen on port {args.port} ({error}); choose another"
            ) from error
        print(f"scripted model: http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
    uvloop.run(run_demo(listener, pace=args.pace, log=args.log))
    return 0


async def run_demo(sock: socket.socket, *, pace: float = PACE, log: Path | None = None) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = create_demo_app(pace=pace, log=log)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    with following_parent():
        await runner.setup()
        try:
            await web.SockSite(runner, sock).start()
            await stop.wait()
        finally:
            await runner.cleanup()


def create_demo_app(*, pace: float, log: Path | None) -> web.Application:
    """The server. ``pace``: tokens a second, 0 for no pacing; ``log`` gets a line per request."""
    app = web.Application(client_max_size=MAX_BODY)
    model = ScriptedModel(pace, log)
    app.router.add_get("/v1/models", model.models)
    app.router.add_post("/v1/chat/completions", model.chat)
    return app


class ScriptedModel:
    """The handlers."""

    def __init__(self, pace: float, log: Path | None) -> None:
        self._pace = pace
        self._log = log
        self._arrivals = itertools.count(1)
        self._failed: dict[str, None] = {}

    async def models(self, _request: web.Request) -> web.Response:
        """The one model."""
        entry = {
            "id": MODEL,
            "object": "model",
            "created": 0,
            "owned_by": "assistant",
            "max_model_len": CONTEXT,
        }
        return web.json_response({"object": "list", "data": [entry]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """A chat completion, streamed or whole."""
        raw = await request.read()
        try:
            body: Any = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return _refuse(400, "The body is not JSON.")
        if not isinstance(body, dict):
            return _refuse(400, "The body is not a JSON object.")
        fields = cast("dict[str, Any]", body)
        asked = understand(fields)
        self._write_log(asked)
        answer = reply(asked)
        if answer.error and self._fails(fields, answer):
            return _refuse(500, answer.error)
        if fields.get("stream"):
            return await self._stream(request, asked, answer)
        return web.json_response(whole(asked, answer))

    def _write_log(self, asked: Asked) -> None:
        number = next(self._arrivals)
        if self._log is None:
            return
        entry = {
            "n": number,
            "at": time.time(),
            "text": asked.said,
            "messages": asked.messages,
            "tool_result": asked.result_of is not None,
            "tools": len(asked.tools),
        }
        # One write of one line to a file opened for appending: lines of several servers never mix.
        fd = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, orjson.dumps(entry) + b"\n")
        finally:
            os.close(fd)

    def _fails(self, body: dict[str, Any], answer: Reply) -> bool:
        """Whether the asked-for error is due: the same conversation fails once, then it works."""
        if not answer.text:
            return True
        name = hashlib.sha256(orjson.dumps(body.get("messages"))).hexdigest()
        if name in self._failed:
            del self._failed[name]
            return False
        if len(self._failed) >= MAX_FAILED:
            self._failed.clear()
        self._failed[name] = None
        return True

    async def _stream(
        self, request: web.Request, asked: Asked, answer: Reply
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        chunks = [*formatted(answer)]
        if answer.call is not None:
            chunks += _call_chunks(answer.call)
        chunks[-1] += ending(asked, answer)
        try:
            async for data in self._paced(chunks, answer):
                await response.write(data)
            await response.write_eof()
        except ConnectionError:
            pass  # the reader has gone: that is how Stop looks from here
        return response

    async def _paced(self, chunks: Sequence[bytes], answer: Reply) -> AsyncGenerator[bytes]:
        """Chunks joined to what is written at once, each at its time."""
        interval, size = self._rhythm(answer)
        start = asyncio.get_running_loop().time()
        for number, at in enumerate(range(0, len(chunks), size)):
            if interval and number:
                due = start + number * interval
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            yield b"".join(chunks[at : at + size])

    def _rhythm(self, answer: Reply) -> tuple[float, int]:
        """Seconds between writes, and chunks per write."""
        if answer.interval is not None:
            return (answer.interval, 1) if answer.interval else (0, AT_ONCE)
        if self._pace <= 0:
            return 0, AT_ONCE
        pace = self._pace / answer.slower
        size = max(1, round(pace * TICK))
        return size / pace, size


@lru_cache(maxsize=8)
def formatted(answer: Reply) -> tuple[bytes, ...]:
    """One chunk of the event stream per token; the opening one goes out with the first."""
    chunks = [_chunk({"reasoning_content": token}) for token in TOKEN.findall(answer.reasoning)]
    chunks += [_chunk({"content": token}) for token in _tokens(answer)]
    opening = _chunk({"role": "assistant", "content": ""})
    return (opening + b"".join(chunks[:1]), *chunks[1:])


def ending(asked: Asked, answer: Reply) -> bytes:
    """The last chunk (why it ended and what it cost, asked for or not), and that it is over."""
    figures = orjson.dumps(_usage(asked, answer)).decode()
    choice = orjson.dumps({"index": 0, "delta": {}, "finish_reason": _finish(answer)}).decode()
    return f'{HEAD}"choices":[{choice}],"usage":{figures}}}\n\n'.encode() + DONE


def whole(asked: Asked, answer: Reply) -> dict[str, Any]:
    """The answer in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(_tokens(answer))}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.call is not None:
        message["tool_calls"] = [_call(answer.call, answer.call.arguments)]
    return {
        "id": "chatcmpl-demo",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(answer)}],
        "usage": _usage(asked, answer),
    }


def _tokens(answer: Reply) -> Sequence[str]:
    return answer.tokens or TOKEN.findall(answer.text)


def _chunk(delta: dict[str, Any]) -> bytes:
    choice = orjson.dumps({"index": 0, "delta": delta, "finish_reason": None}).decode()
    return f'{HEAD}"choices":[{choice}]}}\n\n'.encode()


def _call_chunks(call: ToolCall) -> list[bytes]:
    """The call as servers stream it: id and name first, then the arguments in pieces."""
    parts = [call.arguments[at : at + 16] for at in range(0, len(call.arguments), 16)]
    rest = [{"index": 0, "function": {"arguments": part}} for part in parts]
    return [_chunk({"tool_calls": [piece]}) for piece in ({"index": 0, **_call(call, "")}, *rest)]


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": f"call_{secrets.token_hex(6)}", "type": "function", "function": function}


def _finish(answer: Reply) -> str:
    return "stop" if answer.call is None else "tool_calls"


def _usage(asked: Asked, answer: Reply) -> dict[str, int]:
    prompt = asked.characters // CHARACTERS_PER_TOKEN + 1
    completion = len(_tokens(answer)) + len(TOKEN.findall(answer.reasoning))
    if answer.call is not None:
        completion += len(TOKEN.findall(answer.call.arguments)) + 1
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def _refuse(status: int, message: str) -> web.Response:
    error = {
        "message": message,
        "type": "server_error" if status >= 500 else "invalid_request_error",
    }
    return web.json_response({"error": error}, status=status)
