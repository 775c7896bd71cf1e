"""Bytes of an answer → chunks: server-sent events or one JSON body."""

from __future__ import annotations

import json
from typing import Any, cast

import orjson

from core.models.errors import ModelError, understand

Chunk = dict[str, Any]

MAX_LINE = 8 * 1024 * 1024
"""Longest line or body in bytes; an honest chunk has a few hundred."""

EAGER_LINES = 8
"""``data:`` lines of one event after each of which it is tried whether the object is complete."""

BOM = b"\xef\xbb\xbf"


class SseParser:
    """Feed network reads in, take chunks out; ``done`` after ``[DONE]``.

    Servers put one JSON object on one ``data:`` line, so a line is delivered as soon as it parses;
    only what does not parse waits for more ``data:`` lines of the same event. An error, in
    whichever form, is delivered as ``{"error": …}``.
    """

    def __init__(self) -> None:
        self.done = False
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._error_event = False
        self._is_body: bool | None = None

    @property
    def is_event_stream(self) -> bool:
        """The server streams, instead of answering with one JSON body."""
        return self._is_body is False

    def feed(self, data: bytes) -> list[Chunk]:
        """Chunks that are complete now. Raises ModelError(garbage)."""
        if self._is_body is None:
            data = (b"".join(self._rest) + data).removeprefix(BOM).lstrip()
            self._rest, self._rest_size = [], 0
            if data and not BOM.startswith(data):
                self._is_body = data.startswith((b"{", b"[", b"<"))
        # A line may come in very many reads, so its parts are joined once, when its end has come.
        if self._is_body is not False or b"\n" not in data:
            if data:
                self._rest.append(data)
            self._rest_size += len(data)
            return self._checked([])
        lines = (b"".join(self._rest) + data if self._rest else data).split(b"\n")
        last = lines.pop()
        self._rest, self._rest_size = [last] if last else [], len(last)
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
        rest, self._rest = b"".join(self._rest), []
        if self._is_body:
            return [_whole(rest)]
        chunks: list[Chunk] = []
        for line in (rest, b""):
            self._line(line, chunks)
        return chunks

    def _checked(self, chunks: list[Chunk]) -> list[Chunk]:
        if self._rest_size + self._pending_size > MAX_LINE:
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
            self._end_of_event(chunks)
        elif line.startswith(b"event:"):
            self._error_event = line[6:].strip() == b"error"
        elif line.startswith(b"error:"):
            # Old llama.cpp reports an error in a line of its own, not as data.
            chunks.append(_error(line[6:].strip()))
        elif line.startswith(b"{") and (said := _parse(line)) is not None and said.get("error"):
            # Others write it between the events.
            chunks.append(said)

    def _data(self, value: bytes, chunks: list[Chunk]) -> None:
        if value == b"[DONE]":
            self.done = True
            return
        if self._error_event:
            chunks.append(_error(value))
            return
        self._pending.append(value)
        self._pending_size += len(value) + 1
        # An object of many lines is read at the end of its event only, not anew with each line.
        chunk = self._join() if len(self._pending) <= EAGER_LINES else None
        if chunk is not None:
            chunks.append(chunk)
        elif not self._pending[0].startswith(b"{"):
            # Keep-alive words such as "ping" are no JSON and no harm; half an object waits for the
            # rest.
            self._pending, self._pending_size = [], 0

    def _join(self) -> Chunk | None:
        chunk = _parse(b"\n".join(self._pending))
        if chunk is not None:
            self._pending, self._pending_size = [], 0
        return chunk

    def _end_of_event(self, chunks: list[Chunk]) -> None:
        self._error_event = False
        if not self._pending:
            return
        chunk = self._join() if len(self._pending) > EAGER_LINES else None
        if chunk is not None:
            chunks.append(chunk)
        else:
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
        except (ValueError, RecursionError):
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
