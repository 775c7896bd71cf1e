"""What one connection may send, and how long it may take: limits that hold before the guard sees a
request, and for people who have not signed in.

The parser keeps a head until it is whole, and makes a request of each that comes behind another. So
bytes are counted before it gets them, and it gets one request at a time.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl

from api.middleware.problems import problem
from api.stalled import CutsOffStalled

log = logging.getLogger(__name__)

MAX_HEAD = 64 * 1024
"""Bytes of the first line and the headers. The guard's limits are lower; its answer says which."""

MAX_HEADERS = 200
"""Headers; each costs thirty times its shortest form."""

MAX_BEHIND = 64 * 1024
"""Bytes that may come behind the one request that may wait for the one under way."""

SECONDS = 15.0
"""For a whole head; and within each such time for ``BODY_STEP`` bytes of a body, or its end."""

BODY_STEP = 4096

MAX_CONNECTIONS = 4096
"""Of one web process; a silent one costs about 10 KB."""

END_OF_HEAD = b"\r\n\r\n"


@dataclass(eq=False)
class Room:
    """The connections of one server that wait for their client; the first has waited longest."""

    most: int = MAX_CONNECTIONS
    waiting: dict[Connection, None] = field(default_factory=lambda: dict[Connection, None]())

    def make(self, there: int) -> bool:
        """Whether there is room for one more. The one that has waited longest has to go."""
        if there < self.most:
            return True
        oldest = next(iter(self.waiting), None)
        if oldest is None:
            return False
        del self.waiting[oldest]
        oldest.transport.abort()
        return True


class HeldFlow(FlowControl):
    """Flow control that does not read on while a request waits behind the one under way."""

    held = False

    def resume_reading(self) -> None:
        """Not while it is held: an application that waits for its client to go asks for it."""
        if not self.held:
            super().resume_reading()


class Connection(CutsOffStalled):
    """One connection within its limits. ``connections_in`` makes the class for a server."""

    room: Room
    seconds = SECONDS

    _held: HeldFlow
    _patience: asyncio.TimerHandle | None = None
    _refusal: ASGIApp | None = None
    _behind = b""
    _in_head = True
    _head = 0
    """Bytes of the head so far; in a body in chunks, of what stands between the chunks."""
    _chunked = False
    _body_left = 0
    """Of a body whose length was said."""
    _body_read = 0
    _read_before = 0

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:
        """The client has to send a head soon."""
        has_room = self.room.make(len(self.connections))
        super().connection_made(transport)
        self.flow = self._held = HeldFlow(transport)
        if has_room:
            self.room.waiting[self] = None
            self._be_patient()
        else:
            self._refuse_at_once(b"503 Service Unavailable")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Another protocol goes on with it."""
        self._leave()
        super().handle_websocket_upgrade()

    def _leave(self) -> None:
        self.room.waiting.pop(self, None)
        self._stop_waiting()

    # ---- time

    def _be_patient(self) -> None:
        self._read_before = self._body_read
        self._patience = self.loop.call_later(self.seconds, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        goes_on = not self._in_head and self._body_read - self._read_before >= BODY_STEP
        if goes_on or self.flow.read_paused:
            self._be_patient()
            return
        self._patience = None
        log.debug("a client that did not finish its request was cut off")
        self.transport.abort()

    # ---- bytes

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._held.held:
            self._keep(data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        begun = 0
        while begun < len(data):
            if self.pipeline:
                self._held.pause_reading()
                self._held.held = True
                self._keep(data[begun:])
                return
            end = self._end_of_piece(data, begun)
            if not self._feed(data[begun:end]):
                return
            begun = end
        if self._in_head and not self._head:
            self._stop_waiting()
        elif self._patience is None:
            self._be_patient()

    def _end_of_piece(self, data: bytes, begun: int) -> int:
        """A piece is a part of one body, or ends where a head may end."""
        if self._body_left > 0 and not self._in_head:
            return min(begun + self._body_left, len(data))
        found = data.find(END_OF_HEAD, begun)
        return len(data) if found < 0 else found + len(END_OF_HEAD)

    def _feed(self, piece: bytes) -> bool:
        """Whether the connection goes on."""
        in_chunks, read = self._chunked and not self._in_head, self._body_read
        if self._in_head:
            self._head += len(piece)
        if self._head <= MAX_HEAD:
            super().data_received(piece)
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                return False
            if in_chunks and not self._in_head:
                self._head = self._head + len(piece) if self._body_read == read else 0
        if self._head > MAX_HEAD:
            self._refuse_at_once(b"431 Request Header Fields Too Large")
            return False
        return True

    def _keep(self, data: bytes) -> None:
        self._behind += data
        if len(self._behind) > MAX_BEHIND:
            self.transport.abort()

    def _go_on(self) -> None:
        """The next request is under way: what came behind it may be looked at."""
        if self.transport.is_closing():
            return
        data, self._behind = self._behind, b""
        self._held.held = False
        self._take(data)
        if not self.transport.is_closing():
            self._held.resume_reading()

    def _refuse_at_once(self, status: bytes) -> None:
        """Answer without a request. Nothing is written into an answer under way."""
        if self._answering():
            self.transport.abort()
            return
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status
        )
        self.transport.close()

    def _answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    # ---- what the parser tells

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._refusal, self._chunked, self._body_left, self._body_read = None, False, 0, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those behind a body are left out, nobody reads them."""
        if not self._in_head:
            return
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = too_many_headers
            return
        match name.lower():
            case b"content-length" if value.isdigit() and len(value) < 20:
                self._body_left = int(value)
            case b"transfer-encoding":
                if self._chunked or value.lower() != b"chunked":
                    self._refusal = only_chunked
                self._chunked = True
            case _:
                pass
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head, self._head = False, 0
        self._stop_waiting()
        if self._chunked and self.parser and self.parser.get_http_version() == "1.0":
            self._refusal = only_chunked
        app = self.app
        if self._refusal is not None:
            self.app = self._refusal
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_left -= len(body)
        self._body_read += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_head, self._head, self._body_left = True, 0, 0
        super().on_message_complete()
        if self._answering():
            self.room.waiting.pop(self, None)

    def on_response_complete(self) -> None:
        """The answer is whole; the request that waits comes next."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if not self.pipeline:
            self.room.waiting.pop(self, None)
            self.room.waiting[self] = None
        if self._held.held:
            self.loop.call_soon(self._go_on)


def connections_in(room: Room) -> type[Connection]:
    """The class of a server's connections."""

    class InRoom(Connection):
        """A connection of one server."""

    InRoom.room = room
    return InRoom


async def too_many_headers(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers instead of the app."""
    detail = f"the request has more than {MAX_HEADERS} headers; send fewer"
    await _refused(scope, 431, "headers_too_large", detail)(scope, receive, send)


async def only_chunked(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers instead of the app."""
    detail = "a body comes with its length, or in HTTP/1.1 with `Transfer-Encoding: chunked` alone"
    await _refused(scope, 400, "malformed", detail)(scope, receive, send)


def _refused(scope: Scope, status: int, code: str, detail: str) -> ASGIApp:
    return problem(scope["path"], status, code, detail, headers={"connection": "close"})
