"""Reading and changing user data: name, time zone, language, preferences."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Invalid, ToolError
from core.services import Services
from tools.base import InjectedCaller, Tool, Traits, tool


def toolset(services: Services) -> Sequence[Tool]:
    """get_profile, set_profile."""

    async def get_profile(caller: InjectedCaller) -> str:
        """Read what is stored about the user: name, time zone, language, preferences.

        Args:
            caller: Set by the assistant.
        """
        stored = await services.profiles.get(caller.user_id)
        return (
            "\n".join(f"{key}: {value}" for key, value in stored.items()) or "nothing is stored yet"
        )

    async def set_profile(caller: InjectedCaller, key: str, value: str) -> str:
        """Store one fact about the user, or remove it with an empty value.

        Use it when the user tells their name, time zone, language or a lasting preference.

        Args:
            caller: Set by the assistant.
            key: What it is: name, time_zone (IANA name), language (en or ru), or a short key of
            your own.
            value: The fact. Empty removes the entry.
        """
        try:
            await services.profiles.update(caller.user_id, {key: value})
        except Invalid as error:
            raise ToolError(str(error)) from error
        return f"stored {key}: {value}" if value.strip() else f"removed {key}"

    return (tool(get_profile), tool(set_profile, Traits(effect="write")))
