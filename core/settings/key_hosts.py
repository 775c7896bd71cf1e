"""Which host a key of a model server is for. A key goes only to the host that it was set together
with: the operator's key to the operator's host, a saved one to the host it was saved for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from core.settings.groups import GROUPS

Source = Literal["default", "config", "environment", "saved"]
Layer = dict[str, dict[str, Any]]
Layers = tuple[tuple[Source, Layer], ...]

ADDRESS, KEY = "base_url", "api_key"

KEYED = tuple(group for group, model in GROUPS.items() if {ADDRESS, KEY} <= set(model.model_fields))
"""Groups that have an address and a key for it."""

DEFAULT_PORTS = {"http": 80, "https": 443}


def host_of(url: object) -> str:
    """``scheme://host:port``; "" for no address and for what is no address."""
    if not isinstance(url, str) or not url:
        return ""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def operators_host(group: str, layers: Layers) -> str:
    """The host that config file and environment name."""
    return _host(group, [layer for source, layer in layers if source != "saved"])


def chosen_host(group: str, layers: Layers) -> str:
    """The host that requests go to."""
    return _host(group, [layer for _, layer in layers])


def _host(group: str, layers: list[Layer]) -> str:
    values = (layer.get(group, {}) for layer in reversed(layers))
    found = next((layer[ADDRESS] for layer in values if ADDRESS in layer), None)
    return host_of(GROUPS[group].model_fields[ADDRESS].default if found is None else found)


def without_foreign_keys(layers: Layers, bound: Mapping[str, str]) -> Layers:
    """The layers without the keys that were not set for the host that requests go to.

    ``bound``: for which host a group's saved key was saved. A key of a former version that does
    not say so is for the address that stands beside it.
    """
    for group in KEYED:
        host = chosen_host(group, layers)
        allowed = {
            "saved": bound.get(group, host) == host,
            "operator": operators_host(group, layers) == host,
        }
        layers = tuple(
            (
                source,
                layer
                if allowed["saved" if source == "saved" else "operator"]
                else _without_key(layer, group),
            )
            for source, layer in layers
        )
    return layers


def _without_key(layer: Layer, group: str) -> Layer:
    values = layer.get(group, {})
    if not values.get(KEY):  # an empty one says that there is to be no key
        return layer
    return {**layer, group: {name: value for name, value in values.items() if name != KEY}}
