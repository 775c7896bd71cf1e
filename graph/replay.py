"""A resumed turn shows again what its checkpoint holds, so that clients end up with the same
text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.types import StateSnapshot

from core.events import Event, TextDelta, ToolFinished, ToolStarted, ToolStatus
from core.mailbox import Turn
from nodes.assistant import BETWEEN, completed
from nodes.state import OUTCOME, State, of_this_turn

SHOWN = 400


def replay(snapshot: StateSnapshot, turn: Turn, emit: Callable[[Event], None]) -> None:
    """Emit text, tool calls and completed answers of this turn, as the first attempt did."""
    state = cast("State", snapshot.values)
    messages = [*of_this_turn(state.get("messages", [])), *_not_yet_in_state(snapshot)]
    results = {m.tool_call_id: m for m in messages if isinstance(m, ToolMessage)}
    text = ""
    for message in messages:
        if isinstance(message, HumanMessage):
            text = ""
        if not isinstance(message, AIMessage):
            continue
        if message.text:
            piece = (BETWEEN if text else "") + message.text
            emit(TextDelta(piece))
            text += piece
        for call in message.tool_calls:
            if (result := results.get(str(call["id"]))) is not None:
                emit(ToolStarted(str(call["id"]), call["name"], call["args"]))
                emit(ToolFinished(str(call["id"]), _status(result), result.text[:SHOWN]))
        if not message.tool_calls:
            emit(completed(message, run_id=turn.run_id, text=text))


def _not_yet_in_state(snapshot: StateSnapshot) -> list[AnyMessage]:
    """Results of tool agents that had ended when others of the same step were still at work."""
    written = [cast("dict[str, Any]", task.result) for task in snapshot.tasks if task.result]
    return [message for result in written for message in result.get("messages", ())]


def _status(result: ToolMessage) -> ToolStatus:
    known = result.additional_kwargs.get(OUTCOME)
    if known is not None:
        return cast("ToolStatus", known)
    return "error" if result.status == "error" else "ok"
