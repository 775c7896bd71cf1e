"""Bytes of an answer → chunks: server-sent events or one JSON body."""

from __future__ import annotations

import json
from typing import Any, cast

import orjson

from core.models.errors import ModelError, understand

Chunk = dict[str, Any]

MAX_LINE = 8 * 1024 * 1024
"""Longest line or body in bytes; an honest chunk has a few hundred."""

BOM = b"\xef\xbb\xbf"


class SseParser:
    """Feed network reads in, take chunks out; ``done`` after ``[DONE]``.

    Servers put one JSON object on one ``data:`` line, so a line is delivered as soon as it parses;
    only what does not parse waits for more ``data:`` lines of the same event. An error, in
    whichever form, is delivered as ``{"error": …}``.
    """

    def __init__(self) -> None:
        self.done = False
        self._rest: bytes = b""
        self._pending: bytes = b""
        self._error_event = False
        self._is_body: bool | None = None

    @property
    def is_event_stream(self) -> bool:
        """The server streams, instead of answering with one JSON body."""
        return self._is_body is False

    def feed(self, data: bytes) -> list[Chunk]:
        """Chunks that are complete now. Raises ModelError(garbage)."""
        data = self._rest + data
        if self._is_body is None:
            data = data.removeprefix(BOM).lstrip()
            if data and not BOM.startswith(data):
                self._is_body = data.startswith((b"{", b"[", b"<"))
        if self._is_body is not False:
            self._rest = data
            return self._checked([])
        lines = data.split(b"\n")
        self._rest = lines.pop()
        chunks: list[Chunk] = []
        for line in lines:
            # Nearly every line is one of these two; a token of the model is one of each.
            if self._pending or self._error_event:
                self._line(line, chunks)
            elif line.startswith(b"data: {"):
                try:
                    chunks.append(orjson.loads(line[6:]))
                except orjson.JSONDecodeError:
                    self._line(line, chunks)
            elif line:
                self._line(line, chunks)
        return self._checked(chunks)

    def finish(self) -> list[Chunk]:
        """Chunks that the end of the data completes. Raises ModelError(garbage)."""
        rest, self._rest = self._rest, b""
        if self._is_body:
            return [_whole(rest)]
        chunks: list[Chunk] = []
        for line in (rest, b""):
            self._line(line, chunks)
        return chunks

    def _checked(self, chunks: list[Chunk]) -> list[Chunk]:
        if len(self._rest) + len(self._pending) > MAX_LINE:
            raise ModelError(
                "garbage", "The server sent one line of more than 8 MiB; that is no answer."
            )
        return chunks

    def _line(self, line: bytes, chunks: list[Chunk]) -> None:
        if line.startswith(b"data:"):
            self._data(line[5:].strip(), chunks)
            return
        line = line.rstrip(b"\r")
        if not line:
            self._end_of_event()
        elif line.startswith(b"event:"):
            self._error_event = line[6:].strip() == b"error"
        elif line.startswith(b"error:"):
            # Old llama.cpp reports an error in a line of its own, not as data.
            chunks.append(_error(line[6:].strip()))

    def _data(self, value: bytes, chunks: list[Chunk]) -> None:
        if value == b"[DONE]":
            self.done = True
            return
        if self._error_event:
            chunks.append(_error(value))
            return
        if self._pending:
            value = self._pending + b"\n" + value
        chunk = _parse(value)
        if chunk is None:
            # Keep-alive words such as "ping" are no JSON and no harm; half an object waits for the
            # rest.
            self._pending = value if value.startswith(b"{") else b""
            return
        self._pending = b""
        chunks.append(chunk)

    def _end_of_event(self) -> None:
        self._error_event = False
        if self._pending:
            raise ModelError(
                "garbage", "A piece of the answer is not valid JSON; the answer has a hole."
            )


def _parse(value: bytes) -> Chunk | None:
    try:
        data: Any = orjson.loads(value)
    except orjson.JSONDecodeError:
        # orjson refuses NaN and lone surrogates, which Python servers really send.
        try:
            data = json.loads(value)
        except ValueError:
            return None
    return cast("Chunk", data) if isinstance(data, dict) else None


def _error(value: bytes) -> Chunk:
    data = _parse(value)
    if data is not None:
        return data if data.get("error") else {"error": data}
    return {"error": {"message": value.decode("utf-8", "replace")}}


def _whole(body: bytes) -> Chunk:
    data = _parse(body)
    if data is not None:
        return data
    said = understand(body[:2000].decode("utf-8", "replace")).text
    raise ModelError("garbage", f"The server did not answer with JSON: {said[:200]}")
