"""Keeps the settings of a process fresh."""

from __future__ import annotations

from core.live_settings.live import LiveSettings
from core.store import keys
from core.store.listening import Announcements


async def follow_settings(live: LiveSettings, announcements: Announcements) -> None:
    """Refresh whenever a setting is saved, and whenever that may have been missed.

    It also makes the process visible: a restore and a migration look for subscribers of this
    channel (core/store/exclusive.py).
    """

    async def refresh(_group: str | None) -> None:
        await live.refresh()

    await announcements.hear(keys.settings_changed(), refresh)
