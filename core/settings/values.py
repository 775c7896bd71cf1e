"""Types of settings that are checked by more than their type."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address, ip_network
from socket import inet_aton
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator


def http_url(value: str) -> str:
    """Check an http(s) base URL and drop its trailing slash; "" means unset. Raises ValueError."""
    if not value:
        return value
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ValueError(
            f"{value!r} is not a URL ({error}); write it like http://127.0.0.1:1234/v1"
        ) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{value!r} is not a URL; write it like http://127.0.0.1:1234/v1")
    if parts.username or parts.password:
        raise ValueError("put the key into api_key, not into the URL")
    if is_link_local(parts.hostname):
        raise ValueError(f"{value!r} is a link-local address, where no model server lives")
    return value.rstrip("/")


def is_link_local(host: str) -> bool:
    """Whether a host is a link-local address (169.254.0.0/16, fe80::/10), in any way of writing it:
    machines of clouds hand out their credentials there."""
    bare = host.partition("%")[0]
    try:
        # What the system's look-up takes for an address: 0xa9fea9fe, 2852039166, 169.16689662.
        found = ip_address(inet_aton(bare) if bare[:1].isdigit() else bare)
    except (ValueError, OSError):
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_link_local


def redis_url(value: str) -> str:
    """Check a Redis URL; "" means the embedded server. Raises ValueError."""
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError(
            f"{value!r} is no Redis URL; write redis://host:6379/0, rediss://… or unix:///path"
        )
    return value


HOST_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


def host_name(value: str) -> str:
    """Check a bare host name or IP address. Raises ValueError."""
    try:
        return str(ip_address(value))
    except ValueError:
        labels = value.split(".")
        good = len(value) <= 253 and all(HOST_LABEL.fullmatch(label) for label in labels)
        if good and not labels[-1].isdecimal():
            return value.lower()
    raise ValueError(
        f"{value!r} is no host name; write only the name or the IP address, "
        "like 127.0.0.1 or nas.local"
    )


def network(value: str) -> str:
    """Check an IP address or a network of them (CIDR). Raises ValueError."""
    try:
        return str(ip_network(value, strict=False))
    except ValueError as error:
        raise ValueError(
            f"{value!r} is no IP address and no network; write it like 127.0.0.1 or 172.18.0.0/16"
        ) from error


def lower(value: object) -> object:
    """A word in lower case: LOG_LEVEL=INFO is how many systems write it."""
    return value.lower() if isinstance(value, str) else value


HostName = Annotated[str, AfterValidator(host_name)]
Network = Annotated[str, AfterValidator(network)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
RedisUrl = Annotated[str, AfterValidator(redis_url)]
Lower = BeforeValidator(lower)
