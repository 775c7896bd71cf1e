"""The guard decides for each tool call: run, or refuse. It runs nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Send

from core.events import ToolFinished, ToolStarted
from nodes.state import OUTCOME, Context, State, dangling_calls


async def guard(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Refuse calls of tools that do not exist; the model is told which there are."""
    known = runtime.context.toolbox.skills
    results: list[ToolMessage] = []
    for call in dangling_calls(state["messages"]):
        if call["name"] in known:
            continue
        text = f"There is no tool {call['name']!r}. Tools: {', '.join(known)}."
        runtime.context.emit(ToolStarted(str(call["id"]), call["name"], call["args"]))
        runtime.context.emit(ToolFinished(str(call["id"]), "refused", text))
        results.append(
            ToolMessage(
                text,
                tool_call_id=call["id"],
                name=call["name"],
                status="error",
                id=f"{call['id']}-r",
                additional_kwargs={OUTCOME: "refused"},
            )
        )
    return {"messages": results} if results else {}


async def fan_out(state: State) -> Sequence[Send] | str:
    """One tool agent per allowed call, side by side; back to the assistant when there is none."""
    calls = dangling_calls(state["messages"])
    if not calls:
        return "assistant"
    return [Send("tool_agent", {"call": call}) for call in calls]
