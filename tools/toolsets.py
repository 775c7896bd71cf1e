"""The one list of built-in toolsets. A broken one stops the start, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from core.errors import ConfigError
from core.services import Services
from tools import (
    clock,
    kept_results,
    user_profile,
)
from tools.base import Tool, Toolset
from tools.toolbox import Toolbox

TOOLSETS: tuple[Toolset, ...] = (
    clock.toolset,
    kept_results.toolset,
    user_profile.toolset,
)


def build_toolbox(services: Services, toolsets: Sequence[Toolset] = TOOLSETS) -> Toolbox:
    """The tools of the toolsets, bound to the services. Raises ConfigError, which names the
    toolset."""
    sources: dict[str, Sequence[Tool]] = {}
    for toolset in toolsets:
        name = source_name(toolset)
        if name in sources:
            raise ConfigError(f"toolset {name} is in the list twice")
        sources[name] = _tools(name, toolset, services)
    return Toolbox(sources)


def source_name(toolset: Toolset) -> str:
    """What messages call a toolset: where its function stands."""
    where = getattr(toolset, "__module__", "?")
    return f"{where}.{getattr(toolset, '__qualname__', toolset)}"


def _tools(name: str, toolset: Toolset, services: Services) -> Sequence[Tool]:
    try:
        tools = tuple(toolset(services))
    except Exception as error:
        raise ConfigError(f"toolset {name} is broken: {error}") from error
    for entry in cast("tuple[object, ...]", tools):
        if not isinstance(entry, Tool):
            raise ConfigError(f"toolset {name} is broken: {entry!r} is not a tool")
    return tools
