"""How much of the model's context one tool result may take."""

from __future__ import annotations

from core.services import Services

SHOWN_SHARE = 6
"""A sixth of the context is shown of a result …"""
KEPT_SHARE = 12
"""… and from half of that on its text is kept, because a round of many calls must share the room
and may have to shorten it further."""


async def shown_tokens(services: Services) -> int:
    """Estimated tokens that the model sees of one result."""
    return await services.gateway.context_window(services.settings.current) // SHOWN_SHARE
