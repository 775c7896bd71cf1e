"""Before the model is asked: repair what a stopped turn left behind.

Runs only when there is something to repair, so that a plain turn has one step less.
"""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.runtime import Runtime

from nodes.state import Context, State, dangling_calls

INTERRUPTED = (
    "This call was interrupted. Whether it took effect is unknown; check before you repeat it."
)


def needs_recall(state: State) -> bool:
    """Whether the conversation holds tool calls without a result."""
    return bool(dangling_calls(state.get("messages", [])))


async def recall(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Answer dangling tool calls, right behind the message that made them."""
    return {
        "messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *repaired(state.get("messages", []))]
    }


def repaired(messages: list[AnyMessage]) -> list[AnyMessage]:
    """The same messages with a result for every call."""
    open_calls = {call["id"]: call for call in dangling_calls(messages)}
    result: list[AnyMessage] = []
    for message in messages:
        result.append(message)
        if not isinstance(message, AIMessage):
            continue
        result += [
            ToolMessage(
                INTERRUPTED,
                tool_call_id=str(call["id"]),
                name=call["name"],
                status="error",
                id=f"{call['id']}-interrupted",
            )
            for call in message.tool_calls
            if call["id"] in open_calls
        ]
    return result
