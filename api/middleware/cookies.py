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


def cookie_name(scope: Scope) -> str:
    """The session cookie's name on this connection."""
    return SECURE_COOKIE if scope["scheme"] == "https" else COOKIE


def cookie_token(scope: Scope, header: str) -> str:
    """The token in a Cookie header, or ""."""
    token = cookie_parser(header).get(cookie_name(scope), "")
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
    return {
        "key": cookie_name(scope),
        "path": "/",
        "secure": scope["scheme"] == "https",
        "httponly": True,
        "samesite": "strict",
    }
