"""The guard decides for each tool call: run, or refuse. It runs nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Send

from core.events import ToolStarted
from nodes.request.results import finished, result
from nodes.state import CORRECTION, Context, State, any_untrusted, dangling_calls
from tools.toolbox import TurnTools

AFTER_UNTRUSTED = (
    "The tool {name!r} was not run: this conversation holds text of strangers (a tool brought it), "
    "so the user would have to agree first, and there is no way to ask for it yet. Tell the user; "
    "in a new conversation it can be called."
)


async def guard(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Refuse calls that must not run; the model is told why."""
    tools, emit = runtime.context.tools, runtime.context.emit
    results: list[ToolMessage] = []
    for call in dangling_calls(state["messages"]):
        wrong = tools.refusal(call["name"])
        text = wrong or _too_late(call["name"], tools, state)
        if not text:
            continue
        message = result(call, "refused", text, **({CORRECTION: True} if wrong else {}))
        emit(ToolStarted(str(call["id"]), call["name"], call["args"]))
        emit(finished(message))
        results.append(message)
    return {"messages": results} if results else {}


def _too_late(name: str, tools: TurnTools, state: State) -> str:
    """Why a tool that only asks after text of strangers is refused; empty: it may run."""
    if tools.by_name[name].traits.asks != "after_untrusted":
        return ""
    heard = state.get("untrusted", False) or any_untrusted(state["messages"])
    return AFTER_UNTRUSTED.format(name=name) if heard else ""


async def fan_out(state: State) -> Sequence[Send] | str:
    """One tool agent per allowed call, side by side; back to the assistant when there is none."""
    calls = dangling_calls(state["messages"])
    if not calls:
        return "assistant"
    return [Send("tool_agent", {"call": call}) for call in calls]
