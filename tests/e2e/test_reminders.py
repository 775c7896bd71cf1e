"""A reminder goes the way of every message, through real processes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.conversations.inbound import Reminder
from core.conversations.inbox import Bus
from core.settings.groups import EngineSettings
from core.store.opening import open_store
from tests.support.stack import USER, Shown, Stack, events

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]


async def test_a_reminder_is_told_to_readers_and_kept_as_the_assistants_words(
    stack: Stack,
) -> None:
    asked = len(stack.model_calls())
    async with stack.client() as client, open_store(stack.server.url) as store:
        thread = (await client.post("/api/threads", json={})).json()["id"]
        due = datetime.now(UTC)
        reminder = Reminder("r1", USER, thread, "tasks", "k1", "Water the plants", due)
        accepted = await Bus(store).submit(reminder, EngineSettings())
        shown = Shown()
        async for event in events(client, f"/api/threads/{thread}/events"):
            assert event.data["run_id"] == accepted.run_id
            shown.take(event)
        assert (shown.text, shown.completed) == ("Water the plants", "Water the plants")
        assert shown.status == "completed"
        [message] = (await client.get(f"/api/threads/{thread}")).json()["messages"]
        assert (message["role"], message["kind"]) == ("assistant", "reminder")
        assert message["text"] == "Water the plants"
    assert len(stack.model_calls()) == asked
