"""The one list of built-in toolsets. A broken one stops the start, by name."""

from __future__ import annotations

from collections.abc import Sequence

from core.services import Services
from tools import clock, kept_results, user_profile
from tools.base import Toolbox, Toolset

TOOLSETS: tuple[Toolset, ...] = (
    clock.toolset,
    kept_results.toolset,
    user_profile.toolset,
)


def build_toolbox(services: Services, toolsets: Sequence[Toolset] = TOOLSETS) -> Toolbox:
    """The skills of the toolsets, bound to the services."""
    return Toolbox([entry for toolset in toolsets for entry in toolset(services)])
