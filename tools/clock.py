"""The current time, in the user's zone or any other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from core.accounts.profile import check_zone
from core.errors import Invalid, ToolError
from core.services import Services
from tools.base import InjectedCaller, Tool, tool


def toolset(services: Services) -> Sequence[Tool]:
    """current_time."""

    async def current_time(caller: InjectedCaller, time_zone: str = "") -> str:
        """Tell the current date and time.

        Args:
            caller: Set by the assistant.
            time_zone: IANA name like Europe/Berlin. Leave empty for the user's own zone.
        """
        stored = (await services.profiles.get(caller.user_id)).get("time_zone", "")
        return describe_now(time_zone.strip() or stored)

    return (tool(current_time),)


def describe_now(zone_name: str) -> str:
    """Date, time, weekday and zone in words; UTC where no zone is known. Raises ToolError."""
    try:
        zone = ZoneInfo(check_zone(zone_name)) if zone_name else UTC
    except Invalid as error:
        raise ToolError(str(error)) from error
    now = datetime.now(zone)
    text = now.strftime("%A, %Y-%m-%d %H:%M:%S %z")
    if zone_name:
        return f"{text} ({zone_name})"
    return (
        f"{text} (UTC; the user's time zone is not known, ask for it and save it with set_profile)"
    )
