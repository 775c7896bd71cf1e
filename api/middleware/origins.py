"""Which Host and Origin headers are ours: the defence against DNS rebinding and foreign pages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from core.settings.groups import Settings

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]", "assistant.localhost")
WILDCARDS = frozenset({"", "0.0.0.0", "::", "*"})  # noqa: S104 - compared with, never listened on
DEFAULT_PORTS = {"http": "80", "https": "443"}

OURS = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site that a request of our own pages, or of the address bar, has."""


@dataclass
class Listening:
    """The port in use; known only once the server is bound (port 0 takes a free one)."""

    port: int


def allowed_hosts(settings: Settings, port: int) -> frozenset[str]:
    """Every value of the Host header that we answer to, in lower case."""
    return _allowed(settings.security.allowed_hosts, settings.server.host, port)


@lru_cache(maxsize=16)
def _allowed(extra: tuple[str, ...], listen: str, port: int) -> frozenset[str]:
    names: list[str] = [*LOCAL_NAMES]
    if listen not in WILDCARDS:
        names.append(f"[{listen}]" if ":" in listen and not listen.startswith("[") else listen)
    hosts = {f"{name}:{port}" for name in names}
    if str(port) in DEFAULT_PORTS.values():
        hosts.update(names)
    for entry in filter(None, map(str.strip, extra)):  # an empty one would stand for no Host
        # A name alone stands for a reverse proxy on 80 or 443, and for our own port.
        hosts.add(entry)
        if not _has_port(entry):
            hosts.add(f"{entry}:{port}")
    return frozenset(host.lower() for host in hosts)


def _has_port(host: str) -> bool:
    return host.rpartition("]")[2].rpartition(":")[1] == ":"


def is_origin_of(origin: str, host: str, scheme: str) -> bool:
    """Whether ``origin`` names the page at ``host``.

    Behind a proxy that ends TLS we see http while the browser says https; never the reverse.
    """
    said, separator, rest = origin.lower().partition("://")
    if not separator or said not in DEFAULT_PORTS or (scheme == "https" and said != "https"):
        return False
    return _without_default(rest, said) == _without_default(host, said)


def _without_default(host: str, scheme: str) -> str:
    return host.removesuffix(f":{DEFAULT_PORTS[scheme]}") if _has_port(host) else host


def may_share(origin: str, settings: Settings) -> bool:
    """Whether the user lets pages of ``origin`` call /v1 from a browser."""
    wanted = origin.lower()
    if wanted == "null":  # what any sandboxed page says
        return False
    return any(wanted == known.lower().rstrip("/") for known in settings.security.cors_origins)
