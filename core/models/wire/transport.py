"""The wire: one shared HTTP session, streamed POSTs with first-byte and idle limits, small GETs."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import orjson

from core.models.errors import ModelError, classify, redact
from core.models.wire.sse import Chunk, SseParser

MAX_ERROR_BODY = 64 * 1024
CONNECT_SECONDS = 10
LARGE = 1024 * 1024
KEEP_ALIVE_SECONDS = 15
DRAIN_SECONDS = 0.01
"""How long to wait for the end of a finished answer, so that its connection can be used again."""

# What aiohttp raises for a server that is gone, a name that does not resolve, a cut or malformed
# answer.
NETWORK_ERRORS = (aiohttp.ClientError, OSError, ValueError)


class StaleConnection(ModelError):
    """A kept-alive connection was dead before any byte came back; trying again is safe."""


class AnswerStream:
    """One streamed answer; ``read`` gives what one network read brought."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._parser = SseParser()
        self.ended = False

    @property
    def done(self) -> bool:
        """The server said ``[DONE]``."""
        return self._parser.done

    @property
    def is_event_stream(self) -> bool:
        """The server streams, instead of answering with one JSON body."""
        return self._parser.is_event_stream

    async def read(self, seconds: float) -> list[Chunk]:
        """Chunks of the next network read; may be empty (comments), ``ended`` is set at the end.

        Raises TimeoutError after ``seconds`` of silence (reading on is allowed),
        ModelError(truncated) when the connection breaks.
        """
        try:
            async with asyncio.timeout(seconds):
                data = await self._response.content.readany()
        except TimeoutError:
            raise
        except NETWORK_ERRORS as error:
            raise ModelError("truncated", said=type(error).__name__) from error
        if not data:
            self.ended = True
            return self._parser.finish()
        chunks = self._parser.feed(data)
        self.ended = self._parser.done
        return chunks

    async def aclose(self) -> None:
        """Give the connection back if the answer is complete, else close it at once."""
        content = self._response.content
        if self._parser.done and not content.at_eof():
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await content.readany()
            except (TimeoutError, *NETWORK_ERRORS):
                self._response.close()
        if content.at_eof():
            self._response.release()
        else:
            self._response.close()


class Transport:
    """Requests to model servers over one pool of kept-alive connections."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post_stream(self, url: str, body: bytes, *, api_key: str) -> AnswerStream:
        """Send a chat request and wait for its headers, without a time limit of its own.

        Raises ModelError for whatever is not a 200, StaleConnection when a kept-alive connection
        was dead.
        """
        used = SimpleNamespace(reused=False)
        try:
            response = await self._session.post(
                url,
                # aiohttp warns about bytes of more than 1 MiB and wants a file instead.
                data=body if len(body) < LARGE else io.BytesIO(body),
                headers=_headers(api_key, "text/event-stream"),
                allow_redirects=False,
                trace_request_ctx=used,
            )
        except NETWORK_ERRORS as error:
            raise _unreachable(url, error, stale=used.reused) from error
        if response.status == 200:
            return AnswerStream(response)
        raise await _refused(response, api_key)

    async def request_json(
        self,
        method: str,
        url: str,
        *,
        api_key: str = "",
        body: dict[str, Any] | None = None,
        seconds: float = 5,
        limit: int = 8 * 1024 * 1024,
    ) -> Any:
        """One small call; the parsed JSON of a 200. Raises ModelError."""
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(
                    method,
                    url,
                    data=None if body is None else orjson.dumps(body),
                    headers=_headers(api_key, "application/json"),
                    allow_redirects=False,
                ) as response,
            ):
                if response.status != 200:
                    raise await _refused(response, api_key)
                return orjson.loads(await _read(response, limit))
        except TimeoutError as error:
            raise ModelError("stalled", f"No answer from {url} within {seconds:g} s.") from error
        except orjson.JSONDecodeError as error:
            raise ModelError("garbage", f"{url} did not answer with JSON.") from error
        except NETWORK_ERRORS as error:
            raise _unreachable(url, error) from error


@asynccontextmanager
async def open_transport() -> AsyncGenerator[Transport]:
    """One pool for the process. No cookies, no proxies from the environment, no redirects."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_mark_reused)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        trust_env=False,
        trace_configs=[trace],
    ) as session:
        yield Transport(session)


async def _mark_reused(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.reused = True


def _headers(api_key: str, accept: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": accept,
        # A compressed stream arrives in lumps.
        "Accept-Encoding": "identity",
    }
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    while len(data) < limit and (part := await response.content.readany()):
        data += part
    return bytes(data[:limit])


async def _refused(response: aiohttp.ClientResponse, api_key: str) -> ModelError:
    """The error behind an answer that is not 200."""
    try:
        if 300 <= response.status < 400:
            target = redact(response.headers.get("Location", "")[:200], (api_key,))
            return ModelError(
                "other",
                f"The model server redirects to {target}, which is not followed. Write the final "
                "address into model.base_url.",
            )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                body = await _read(response, MAX_ERROR_BODY)
        except (TimeoutError, *NETWORK_ERRORS):
            body = b""
        return classify(response.status, body.decode("utf-8", "replace"), secrets=(api_key,))
    finally:
        response.release()


def _unreachable(url: str, error: Exception, *, stale: bool = False) -> ModelError:
    """Why nothing came back. The words of the error may hold the URL but never a header."""
    origin = url.split("/v1")[0]
    why = redact(str(error) or type(error).__name__)[:200]
    detail = (
        f"No answer from {origin} ({why}). Check that the model server runs and that "
        "model.base_url is right."
    )
    if stale and isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return StaleConnection("unreachable", detail)
    return ModelError("unreachable", detail)
