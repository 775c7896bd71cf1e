"""The assistant's HTTP interface as a terminal needs it: calls, and one stream of events that
survives restarts of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import orjson

from core.errors import AssistantError, RateLimited
from core.events import Event, Unknown, from_fields

START = "0-0"
CALL_SECONDS = 30
SILENCE = 45
"""Seconds without a byte after which a stream counts as dead; the server sends a ping every 15."""

GIVE_UP = 120.0
"""Seconds without an answer after which nobody waits any more."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
LOST = "lost"
"""An event of ours: the connection broke and is made again."""

NETWORK_ERRORS = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Received:
    """One event as it came. ``id`` is "" for events that are not in the journal."""

    id: str
    type: str
    data: dict[str, Any]

    @property
    def event(self) -> Event | Unknown:
        """What it tells."""
        return from_fields(self.type, self.data)


class Frames:
    """Bytes of an event stream → events; comments and half frames wait or are dropped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Received]:
        """Events that are complete now."""
        *blocks, self._rest = (self._rest + data.replace(b"\r\n", b"\n")).split(b"\n\n")
        return [event for event in map(_parse, blocks) if event is not None]


def _parse(block: bytes) -> Received | None:
    fields: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        fields[name] = value.removeprefix(b" ")
    if b"data" not in fields:
        return None
    data: Any = orjson.loads(fields[b"data"])
    kind = fields.get(b"event", b"message").decode()
    content = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    return Received(fields.get(b"id", b"").decode(), kind, content)


class ChatClient:
    """Calls of one server with one key."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, key: str) -> None:
        self._session = session
        self._base = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The parsed answer. Raises AssistantError with what the server said."""
        try:
            async with self._session.request(
                method,
                self._base + path,
                json=body,
                headers=self._headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
            ) as response:
                if response.status >= 300:
                    raise await _refused(response)
                raw = await response.read()
        except NETWORK_ERRORS as error:
            raise self._silent(error) from error
        try:
            return orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError as error:
            raise AssistantError(
                f"{self._base} is no assistant: it does not answer with JSON"
            ) from error

    async def send(self, thread_id: str, text: str, message_id: str) -> str:
        """Hand a message in; the run that answers it. Repeats are harmless: the id dedupes."""
        body = {"text": text, "id": message_id}
        deadline = asyncio.get_running_loop().time() + GIVE_UP
        while True:
            try:
                answer = await self.call("POST", f"/api/threads/{thread_id}/messages", body)
                return str(answer["run_id"])
            except AssistantError as error:
                if not error.retryable or asyncio.get_running_loop().time() > deadline:
                    raise
                wait = error.retry_after if isinstance(error, RateLimited) else 1
            await asyncio.sleep(min(wait, 10))

    async def follow(self, thread_id: str, since: str) -> AsyncGenerator[Received]:
        """Events after an id, over broken connections, without gaps and repeats; LOST in between.

        Raises AssistantError when the server refuses, or stays away for two minutes.
        """
        loop = asyncio.get_running_loop()
        pause, heard = FIRST_PAUSE, loop.time()
        while True:
            try:
                async with aclosing(self._stream(thread_id, since)) as stream:
                    async for event in stream:
                        pause, heard = FIRST_PAUSE, loop.time()
                        since = event.id or since
                        yield event
            except NETWORK_ERRORS as error:
                if loop.time() - heard > GIVE_UP:
                    raise self._silent(error) from error
            yield Received("", LOST, {})
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _stream(self, thread_id: str, since: str) -> AsyncGenerator[Received]:
        """One connection's events."""
        headers = self._headers | {"Last-Event-ID": since}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE)
        url = f"{self._base}/api/threads/{thread_id}/events"
        async with self._session.get(
            url, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            if response.status >= 500:
                response.raise_for_status()
            if response.status != 200:
                raise await _refused(response)
            frames = Frames()
            while data := await response.content.readany():
                for event in frames.feed(data):
                    yield event

    def _silent(self, error: Exception) -> AssistantError:
        why = str(error) or type(error).__name__
        silent = AssistantError(
            f"nothing answers at {self._base} ({why}); start it with `assistant up`",
            code="not_running",
        )
        silent.retryable = True
        return silent


async def _refused(response: aiohttp.ClientResponse) -> AssistantError:
    """The server's own words, where it has some."""
    fields: dict[str, Any] = {}
    try:
        data: Any = orjson.loads(await response.read())
        if isinstance(data, dict):
            fields = cast("dict[str, Any]", data)
    except orjson.JSONDecodeError:
        pass
    detail = str(fields.get("detail") or f"the server answers HTTP {response.status}")
    code = str(fields.get("code") or "refused")
    if response.status == 429:
        after = response.headers.get("Retry-After", "")
        return RateLimited(detail, retry_after=int(after) if after.isdigit() else 5, code=code)
    error = AssistantError(detail, code=code)
    error.retryable = response.status in (502, 503, 504)
    return error
