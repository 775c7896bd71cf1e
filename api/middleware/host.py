"""Where a request comes from: its shape, the name it was sent to, the page that sent it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from api.middleware import cors
from api.middleware.origins import OURS, allowed_hosts, is_origin_of, may_share
from core.errors import AssistantError, Forbidden, Malformed
from core.settings.groups import Settings

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_TARGET = 8 * 1024
MAX_HEADERS = 32 * 1024
"""Bytes; what common servers allow."""

SINGLE = frozenset(
    {b"host", b"origin", b"authorization", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"}
)
"""Headers that may come once: two readers must not pick different ones."""

USED = SINGLE | {b"accept", b"cookie", *cors.REQUEST_HEADERS}


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
