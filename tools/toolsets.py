"""The one list of built-in toolsets. A broken one stops the start, by name."""

from __future__ import annotations

from core.services import Services
from tools import clock, user_profile
from tools.base import Toolbox, Toolset

TOOLSETS: tuple[Toolset, ...] = (
    clock.toolset,
    user_profile.toolset,
)


def build_toolbox(services: Services) -> Toolbox:
    """All built-in skills, bound to the services."""
    return Toolbox([entry for toolset in TOOLSETS for entry in toolset(services)])
