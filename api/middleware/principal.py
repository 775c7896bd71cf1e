"""Who a request comes from, as the guard found out. Routes trust this and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

from fastapi import Request

from core.accounts.principal import Principal
from core.errors import NO_CREDENTIAL, Forbidden, Unauthorized

REAUTH_MINUTES = 5
"""How long the password counts as just entered (settings that can run commands ask for it)."""


def signed_in(request: Request) -> Principal:
    """The principal of a request behind the guard. Raises Unauthorized on an open route."""
    found = cast("Principal | None", getattr(request.state, "user", None))
    if found is None:
        raise Unauthorized(f"{NO_CREDENTIAL} `Authorization: Bearer ak_…`")
    return found


def in_browser(request: Request) -> Principal:
    """The principal, if it is a browser session. Raises Forbidden for API keys."""
    user = signed_in(request)
    if user.kind != "session":
        raise Forbidden("an API key may not do this; sign in with a browser", code="session_needed")
    return user


def just_confirmed(request: Request) -> Principal:
    """The session, if its password was entered within 5 minutes. Raises Forbidden."""
    user = in_browser(request)
    limit = datetime.now(UTC) - timedelta(minutes=REAUTH_MINUTES)
    if user.reauth_at is None or user.reauth_at < limit:
        raise Forbidden("enter your password again to do this", code="reauth_needed")
    return user
