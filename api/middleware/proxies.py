"""What a reverse proxy says of its client: believed only if it comes from a proxy that the operator
trusts, and only as far as trusted proxies have written it."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from starlette.datastructures import Headers
from starlette.types import Scope

FORWARDED_FOR, FORWARDED_PROTO = "x-forwarded-for", "x-forwarded-proto"
SCHEMES = frozenset({"http", "https"})
MOST_HOPS = 20

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


def look_through_proxies(scope: Scope, trusted: tuple[str, ...]) -> None:
    """Put the client's address and scheme into the scope, in place of the proxy's."""
    client = scope.get("client")
    if not trusted or not client:
        return
    networks = _networks(trusted)
    if not _is_trusted(_address(client[0]), networks):
        return
    headers = Headers(scope=scope)
    if address := _client_of(headers.getlist(FORWARDED_FOR), networks):
        scope["client"] = (address, 0)
    # The last one is the nearest proxy's: what a client has sent stands before it.
    said = ",".join(headers.getlist(FORWARDED_PROTO)).rpartition(",")[2].strip().lower()
    if said in SCHEMES:
        scope["scheme"] = said


def _client_of(values: list[str], trusted: Networks) -> str:
    """The nearest address that is no proxy of ours; "" when there is none. Each proxy adds the
    address that it sees to the end, so what stands before that one may be made up."""
    nearest = ""
    for hop in reversed(",".join(values).split(",")[-MOST_HOPS:]):
        address = _address(hop.strip())
        if address is None:
            break
        nearest = str(address)
        if not _is_trusted(address, trusted):
            break
    return nearest


def _address(text: str) -> Address | None:
    """An address without its port and brackets; an IPv4 one in IPv6 clothes as what it is."""
    bare = text.partition("]")[0].removeprefix("[").partition("%")[0]
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _is_trusted(address: Address | None, trusted: Networks) -> bool:
    return address is not None and any(address in network for network in trusted)


@lru_cache(maxsize=4)
def _networks(trusted: tuple[str, ...]) -> Networks:
    return tuple(ip_network(text) for text in trusted)
