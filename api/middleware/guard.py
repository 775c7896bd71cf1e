"""The one door: every request passes here before any route sees it.

Order: request shape → Host (DNS rebinding) → Origin and Sec-Fetch-Site (foreign pages) → credential
→ what the credential may do. What is not listed as open needs a credential, and what is not listed
for chatting needs one of scope admin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import cors
from api.middleware.access import Access
from api.middleware.cookies import cookie_token, set_cookie
from api.middleware.host import (
    Seen,
    check_fetch_site,
    check_host,
    check_origin,
    check_same_origin,
    is_page,
    read_headers,
)
from api.middleware.origins import Listening
from api.middleware.problems import from_error
from api.middleware.proxies import look_through_proxies
from core.accounts.api_keys import KEY_LENGTH, PREFIX
from core.accounts.directory import Admission, Directory
from core.accounts.principal import Principal
from core.errors import NO_CREDENTIAL, AssistantError, StoreError, Unauthorized
from core.settings.groups import Settings
from core.store.client import PATIENCE, Patience
from dashboard.addresses import SIGN_IN, sign_in_address

Away = Callable[[Scope], Response]
"""Makes the page that is shown while Redis is away."""


class Live(Protocol):
    """Settings that change while we run (``core.settings.source.LiveSettings``)."""

    @property
    def current(self) -> Settings:
        """The settings now."""
        ...


class Guard:
    """ASGI middleware; sets ``scope["state"]["user"]`` to the Principal, or None on open routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        directory: Directory,
        live: Live,
        listening: Listening,
        away: Away | None = None,
    ) -> None:
        self.app = app
        self._access = access
        self._directory = directory
        self._live = live
        self._listening = listening
        self._away = away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":  # none of our routes is one
                await send({"type": "websocket.close", "code": 1008})
            case _:
                await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self._live.current
        look_through_proxies(scope, settings.security.trusted_proxies)
        seen = Seen(scope, scope["path"], scope["method"], {})
        PATIENCE.set(Patience())
        try:
            answer = await self._check(seen, settings)
        except AssistantError as error:
            answer = _refusal(seen, error, self._away)
        if seen.shared or seen.renew:
            send = _adding_headers(send, seen, settings)
        await (self.app if answer is None else answer)(scope, receive, send)

    async def _check(self, seen: Seen, settings: Settings) -> Response | None:
        """None to go on, or a final answer. Raises AssistantError."""
        seen.headers = read_headers(seen.scope)
        check_host(seen, settings, self._listening.port)
        check_origin(seen, settings)
        if seen.shared and cors.is_preflight(seen.method, seen.headers):
            return cors.preflight(seen.headers)
        check_fetch_site(seen)
        if self._access.is_open(seen.method, seen.path):
            user = await self._known_at_the_door(seen, settings)
        else:
            user = await self._identify(seen, settings)
        seen.scope.setdefault("state", {})["user"] = user
        return None

    async def _known_at_the_door(self, seen: Seen, settings: Settings) -> Principal | None:
        """Who is signed in already, on the sign-in page, which leads such people on. It opens for
        everybody, also when Redis is away."""
        if seen.path != SIGN_IN:
            return None
        try:
            found = await self._by_cookie(seen, settings)
        except AssistantError:
            return None
        return found.principal if found is not None else None

    async def _identify(self, seen: Seen, settings: Settings) -> Principal:
        scheme, _, value = (seen.get(b"authorization") or "").partition(" ")
        found: Admission | None = None
        if scheme.lower() == "bearer":
            if len(value) == KEY_LENGTH and value.startswith(PREFIX):
                found = await self._directory.key(value)
        elif not seen.shared:  # a cookie of ours is never at the service of a foreign page
            found = await self._by_cookie(seen, settings)
        if found is None:
            raise Unauthorized(f"{NO_CREDENTIAL} `Authorization: Bearer ak_…`")
        self._access.check(found.principal, method=seen.method, path=seen.path)
        return found.principal

    async def _by_cookie(self, seen: Seen, settings: Settings) -> Admission | None:
        token = cookie_token(seen.scope, seen.get(b"cookie") or "")
        if not token:
            return None
        days = settings.security.session_days
        found = await self._directory.session(token, days)
        if found is None:
            return None
        check_same_origin(seen)
        if found.new_day:
            seen.renew = token
        return found


def _refusal(seen: Seen, error: AssistantError, away: Away | None) -> Response:
    accepts_page = seen.method == "GET" and "text/html" in (seen.get(b"accept") or "")
    wants_page = accepts_page and is_page(seen.path)
    if isinstance(error, StoreError) and wants_page and away is not None:
        return away(seen.scope)
    if isinstance(error, Unauthorized) and wants_page:
        query = seen.scope.get("query_string", b"").decode("latin-1")
        there = sign_in_address(seen.path, query)
        return RedirectResponse(there, status_code=303, headers={"cache-control": "no-store"})
    return from_error(seen.path, error)


def _adding_headers(send: Send, seen: Seen, settings: Settings) -> Send:
    extra = Response()
    if seen.renew:
        set_cookie(extra, seen.scope, seen.renew, settings.security.session_days)
    added: Iterable[tuple[bytes, bytes]] = [h for h in extra.raw_headers if h[0] == b"set-cookie"]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=[*message["headers"], *added])
            if seen.shared:
                cors.allow(headers, seen.headers[b"origin"])
            message = {**message, "headers": headers.raw}
        await send(message)

    return sending
