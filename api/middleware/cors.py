"""Calls from web pages of other origins: only /v1, only with a key, only where allowed."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

REQUEST_HEADERS = frozenset(
    {
        b"access-control-request-method",
        b"access-control-request-headers",
        b"access-control-request-private-network",
    }
)
METHODS = "GET, POST, OPTIONS"
EXPOSED = "retry-after, x-request-id, x-thread-id, x-run-id, x-history-left-out"
PREFLIGHT_SECONDS = "600"


def is_preflight(method: str, headers: Mapping[bytes, str]) -> bool:
    """Whether a browser asks before it sends the real request."""
    return method == "OPTIONS" and b"access-control-request-method" in headers


def preflight(headers: Mapping[bytes, str]) -> Response:
    """Yes. The headers it asks for are granted: OpenAI's clients send a dozen of their own."""
    wanted = headers.get(b"access-control-request-headers", "")
    response = Response(status_code=204)
    response.headers["access-control-allow-methods"] = METHODS
    response.headers["access-control-allow-headers"] = wanted or "authorization, content-type"
    response.headers["access-control-max-age"] = PREFLIGHT_SECONDS
    if headers.get(b"access-control-request-private-network") == "true":
        response.headers["access-control-allow-private-network"] = "true"
    return response


def allow(headers: MutableHeaders, origin: str) -> None:
    """Let the page of ``origin`` read this answer. Never with cookies: keys are sent by hand."""
    headers["access-control-allow-origin"] = origin
    headers["access-control-expose-headers"] = EXPOSED
    headers.add_vary_header("Origin")
