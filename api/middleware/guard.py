"""The one door: every request passes here before any route sees it.

Order: request shape → Host (DNS rebinding) → Origin and Sec-Fetch-Site (foreign pages) → credential
→ what the credential may do. What is not listed as open needs a credential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import cors
from api.middleware.cookies import cookie_token, set_cookie
from api.middleware.origins import OURS, Listening, allowed_hosts, is_origin_of, may_share
from api.middleware.problems import from_error
from core.accounts.api_keys import KEY_LENGTH, PREFIX
from core.accounts.directory import Answer, Directory
from core.accounts.principal import Principal
from core.errors import AssistantError, Forbidden, Malformed, StoreError, Unauthorized
from core.settings.groups import Settings
from core.store.client import PATIENCE, Patience
from dashboard.addresses import sign_in_address

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

OPEN_PAGES = frozenset({"/login", "/setup", "/favicon.ico", "/healthz", "/readyz"})
OPEN_PREFIXES = ("/static/", "/manifest.")
OPEN_CALLS = frozenset({"/api/login", "/api/setup"})
DOOR = "/login"
"""The open page that looks at who comes: somebody signed in is sent on."""

CHAT_PATHS = (
    "/api/threads",
    "/api/messages",
    "/api/events",
    "/api/status",
    "/api/runs",
    "/api/me",
    "/api/profile",
    "/api/tools",
    "/v1",
)
"""What an API key of scope chat may use, with everything below."""

MAX_TARGET = 8 * 1024
MAX_HEADERS = 32 * 1024
"""Bytes; what common servers allow."""

SINGLE = frozenset(
    {b"host", b"origin", b"authorization", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"}
)
"""Headers that may come once: two readers must not pick different ones."""

USED = SINGLE | {b"accept", b"cookie", *cors.REQUEST_HEADERS}


Away = Callable[[Scope], Response]
"""Makes the page that is shown while Redis is away."""


class Live(Protocol):
    """Settings that change while we run (``core.settings.source.LiveSettings``)."""

    @property
    def current(self) -> Settings:
        """The settings now."""
        ...


class Misdirected(AssistantError):
    """The Host header names somebody else."""

    code = "wrong_host"
    status = 421


class TargetTooLong(AssistantError):
    """The address is too long."""

    code = "target_too_long"
    status = 414


class HeadersTooLarge(AssistantError):
    """The headers are too large."""

    code = "headers_too_large"
    status = 431


@dataclass(slots=True)
class Seen:
    """A request as far as the guard looks at it."""

    scope: Scope
    path: str
    method: str
    headers: dict[bytes, str]
    shared: bool = False
    """From a page of another origin that may use /v1."""
    renew: str = ""
    """A session token whose cookie is to be sent again."""

    def get(self, name: bytes) -> str | None:
        """A header's value."""
        return self.headers.get(name)


class Guard:
    """ASGI middleware; sets ``scope["state"]["user"]`` to the Principal, or None on open routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        directory: Directory,
        live: Live,
        listening: Listening,
        away: Away | None = None,
    ) -> None:
        self.app = app
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
        seen = Seen(scope, scope["path"], scope["method"], {})
        PATIENCE.set(Patience())
        settings = self._live.current
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
        if is_open(seen.method, seen.path):
            user = await self._known_at_the_door(seen, settings)
        else:
            user = await self._identify(seen, settings)
        seen.scope.setdefault("state", {})["user"] = user
        return None

    async def _known_at_the_door(self, seen: Seen, settings: Settings) -> Principal | None:
        """Who is signed in already, on the sign-in page; it opens for everybody, also when Redis is
        away."""
        if seen.path != DOOR:
            return None
        try:
            found = await self._by_cookie(seen, settings)
        except AssistantError:
            return None
        return found.principal if found is not None else None

    async def _identify(self, seen: Seen, settings: Settings) -> Principal:
        scheme, _, value = (seen.get(b"authorization") or "").partition(" ")
        found: Answer | None = None
        if scheme.lower() == "bearer":
            if len(value) == KEY_LENGTH and value.startswith(PREFIX):
                found = await self._directory.key(value)
        elif not seen.shared:  # a cookie of ours is never at the service of a foreign page
            found = await self._by_cookie(seen, settings)
        if found is None:
            raise Unauthorized("sign in, or send an API key as `Authorization: Bearer ak_…`")
        check_scope(seen, found.principal)
        return found.principal

    async def _by_cookie(self, seen: Seen, settings: Settings) -> Answer | None:
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


def read_headers(scope: Scope) -> dict[bytes, str]:
    """The headers that we look at. Raises when they or the address are too long, or ambiguous."""
    target = len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b""))
    if target > MAX_TARGET:
        raise TargetTooLong("the address is too long; send long values in the body")
    found: dict[bytes, str] = {}
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name not in USED:
            continue
        if name not in found:
            found[name] = value.decode("latin-1")
        elif name in SINGLE:
            raise _ambiguous(name)
        else:
            found[name] += ("; " if name == b"cookie" else ", ") + value.decode("latin-1")
    if size > MAX_HEADERS:
        raise HeadersTooLarge("the headers are too large; delete the cookies of this site")
    return found


def check_host(seen: Seen, settings: Settings, port: int) -> None:
    """Raises Misdirected unless the Host header is a name of ours. It stops DNS rebinding."""
    host = (seen.get(b"host") or "").lower()
    if host not in allowed_hosts(settings, port):
        raise Misdirected(
            f"this server does not answer to that host name; open http://127.0.0.1:{port}, "
            "or add the name to security.allowed_hosts"
        )


def check_origin(seen: Seen, settings: Settings) -> None:
    """Raises Forbidden for pages of other origins, except those that the user lets use /v1."""
    origin = seen.get(b"origin")
    if origin is None or is_origin_of(origin, seen.headers[b"host"], seen.scope["scheme"]):
        return
    if not (below(seen.path, "/v1") and may_share(origin, settings)):
        raise Forbidden("a page of another site may not call this server", code="wrong_origin")
    seen.shared = True


def check_fetch_site(seen: Seen) -> None:
    """Raises Forbidden for what browsers mark as foreign; following a link is fine."""
    site = seen.get(b"sec-fetch-site")
    if site is None or site in OURS or seen.shared:
        return
    is_link = (
        seen.method == "GET"
        and seen.get(b"sec-fetch-mode") == "navigate"
        and seen.get(b"sec-fetch-dest") == "document"
        and is_page(seen.path)
    )
    if not is_link:
        raise Forbidden("a page of another site may not call this server", code="wrong_origin")


def check_same_origin(seen: Seen) -> None:
    """Raises Forbidden for a change by cookie, unless a page of ours asked for it.

    A present Origin was checked before.
    """
    if seen.method in SAFE or seen.get(b"origin") is not None:
        return
    if seen.get(b"sec-fetch-site") != "same-origin":
        raise Forbidden("the browser did not say which page asks for this", code="wrong_origin")


def check_scope(seen: Seen, user: Principal) -> None:
    """Raises Forbidden where scope chat ends."""
    if "admin" not in user.scopes and not any(below(seen.path, root) for root in CHAT_PATHS):
        if user.kind == "session":
            raise Forbidden("only an administrator may do this", code="scope")
        raise Forbidden("this key is for chatting only; use one of scope admin", code="scope")


def is_open(method: str, path: str) -> bool:
    """Whether a request needs no credential."""
    if method == "POST":
        return path in OPEN_CALLS
    return method in ("GET", "HEAD") and (path in OPEN_PAGES or path.startswith(OPEN_PREFIXES))


def is_page(path: str) -> bool:
    """Whether people, not programs, open this address."""
    return not (below(path, "/api") or below(path, "/v1"))


def below(path: str, root: str) -> bool:
    """Whether ``path`` is ``root`` or under it."""
    return path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/")


def _ambiguous(name: bytes) -> AssistantError:
    if name == b"host":
        return Misdirected("there is more than one Host header")
    return Malformed(f"there is more than one {name.decode()} header")


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
