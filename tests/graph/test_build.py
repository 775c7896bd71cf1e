"""How the graph is put together."""

from __future__ import annotations

import threading
from pathlib import Path

from core.store.client import Store
from tests.support.studio import calls, in_order, studio, text


async def test_a_turn_takes_no_thread(store: Store, tmp_path: Path) -> None:
    """Each edge that was no coroutine went to a thread and back: two in a plain turn."""
    asked = calls(("current_time", {}))
    async with studio(store, tmp_path, in_order(asked, text("Noon."), text("Yes."))) as it:
        thread = await it.desk.thread()
        before = threading.active_count()
        await it.say(thread, "What time is it?")
        await it.say(thread, "Really?")
        assert threading.active_count() == before
