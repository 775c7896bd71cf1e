"""A resumed turn shows again what its checkpoint holds, so that clients end up with the same
text."""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from core.events import Event, TextDelta, ToolFinished, ToolStarted
from core.mailbox import Turn
from nodes.assistant import BETWEEN, completed
from nodes.state import State, of_this_turn


def replay(state: State, turn: Turn, emit: Callable[[Event], None]) -> None:
    """Emit text, tool calls and completed answers of this turn, as the first attempt did."""
    messages = of_this_turn(state.get("messages", []))
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
                status = "error" if result.status == "error" else "ok"
                emit(ToolFinished(str(call["id"]), status, result.text[:400]))
        if not message.tool_calls:
            emit(completed(message, run_id=turn.run_id, text=text))
