"""A resumed turn shows again what its checkpoint holds, so that clients end up with the same
text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from langchain_core.messages import AnyMessage
from langgraph.types import StateSnapshot

from core.engine.mailbox import Turn
from core.events import Event
from nodes.request.shown import show
from nodes.state import State, of_this_turn


def replay(snapshot: StateSnapshot, turn: Turn, emit: Callable[[Event], None]) -> None:
    """Emit text, tool calls and completed answers of this turn, as the first attempt did."""
    messages = cast("State", snapshot.values).get("messages", [])
    known = {message.id for message in messages}
    # A delta channel may have applied the writes of an ended task already.
    more = [message for message in _written(snapshot) if message.id not in known]
    show([*of_this_turn(messages), *more], turn.run_id, emit)


def _written(snapshot: StateSnapshot) -> list[AnyMessage]:
    """Results of tool agents that had ended when others of the same step were still at work."""
    written = [cast("dict[str, Any]", task.result) for task in snapshot.tasks if task.result]
    return [message for result in written for message in result.get("messages", ())]
