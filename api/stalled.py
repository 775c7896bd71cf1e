"""Connections whose other side has stopped taking what we send: they are cut off.

Closing such a connection in the orderly way waits until the other side has taken the rest, which it
never does: descriptor and buffers would stay for as long as the process lives.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.metrics import SLOW_READERS

log = logging.getLogger(__name__)

STALLED_AFTER = 30.0
"""Seconds in which a client must take something of what waits for it."""

NO_LINGERING = struct.pack("ii", 1, 0)


class CutsOffStalled(HttpToolsProtocol):
    """One connection, with an eye on whether the client reads."""

    stalled_after = STALLED_AFTER
    _cutting: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """More waits for the client than a connection may hold."""
        super().pause_writing()
        self._forgive()
        self._cutting = self.loop.call_later(self.stalled_after, self._cut_off)

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        super().resume_writing()
        self._forgive()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._forgive()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """The answer ended a while ago; a client that has not taken it by now never will."""
        if self.transport.get_write_buffer_size():
            self._cut_off()
        else:
            super().timeout_keep_alive_handler()

    def _forgive(self) -> None:
        if self._cutting is not None:
            self._cutting.cancel()
            self._cutting = None

    def _cut_off(self) -> None:
        """The answer under way, if there is one, sees that its client has gone."""
        SLOW_READERS.inc()
        log.info("a client that took nothing for %.0f s was cut off", self.stalled_after)
        # Without lingering the system too forgets the rest, and tells the client with a reset.
        made = self.transport.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGERING)
        self.transport.abort()
