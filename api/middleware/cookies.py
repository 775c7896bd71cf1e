"""The session's cookie."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

from core.accounts.sessions import TOKEN_LENGTH

COOKIE = "asst_session"
SECURE_COOKIE = "__Host-asst_session"
"""Under https; the prefix makes browsers refuse it from other hosts and without Secure."""


def is_secure(scope: Scope) -> bool:
    """Whether the browser is at an https page: it says so itself where a proxy ends TLS. The
    guard has checked that ``Origin`` names this server."""
    if scope["scheme"] == "https":
        return True
    headers = Headers(scope=scope)
    if headers.get("origin", "").startswith("https://"):
        return True
    return SECURE_COOKIE in cookie_parser("; ".join(headers.getlist("cookie")))


def cookie_token(scope: Scope, header: str) -> str:
    """The token in a Cookie header, or "". The plain cookie does not count under https, where
    another host or a plain page may have set it."""
    cookies = cookie_parser(header)
    token = cookies.get(SECURE_COOKIE, "")
    if not token and scope["scheme"] != "https":
        token = cookies.get(COOKIE, "")
    return token if len(token) == TOKEN_LENGTH else ""


def request_token(scope: Scope) -> str:
    """The token that came with a request, or ""."""
    return cookie_token(scope, "; ".join(Headers(scope=scope).getlist("cookie")))


def set_cookie(response: Response, scope: Scope, token: str, days: int) -> None:
    """Hand the token to the browser; scripts cannot read it, other sites cannot send it."""
    response.set_cookie(value=token, max_age=days * 86_400, **_attributes(scope))


def clear_cookie(response: Response, scope: Scope) -> None:
    """Make the browser forget the token."""
    response.delete_cookie(**_attributes(scope))


def _attributes(scope: Scope) -> Any:
    secure = is_secure(scope)
    return {
        "key": SECURE_COOKIE if secure else COOKIE,
        "path": "/",
        "secure": secure,
        "httponly": True,
        "samesite": "strict",
    }
