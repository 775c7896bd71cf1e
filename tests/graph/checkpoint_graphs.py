"""Graphs, clients and shorthand that the saver's tests share."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.base.id import uuid6
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot, interrupt

from nodes.reducer import messages_reducer

SNAPSHOT_EVERY = 7


class Chat(TypedDict, total=False):
    """A delta channel beside plain values of several kinds."""

    messages: Annotated[
        list[AnyMessage], DeltaChannel(messages_reducer, snapshot_frequency=SNAPSHOT_EVERY)
    ]
    turns: int
    summary: str
    data: bytes | None


async def answer(state: Chat) -> Chat:
    """Answer; now and then shorten the window or start it anew."""
    messages, turns = state.get("messages", []), state.get("turns", 0)
    out: list[Any] = [AIMessage(f"a{len(messages)}", id=f"a-{turns}")]
    if turns % 11 == 10:
        out = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *out]
    elif len(messages) > 12:
        out = [*(RemoveMessage(id=old.id or "") for old in messages[:3]), *out]
    data = None if turns % 2 else bytes([turns % 256])
    return {"messages": out, "turns": turns + 1, "summary": "s" * turns * 40, "data": data}


async def ask(state: Chat) -> Chat:
    """Ask the user every fourth turn."""
    turns = state.get("turns", 0)
    said = interrupt("well?") if turns % 4 == 0 else "-"
    return {"messages": [AIMessage(f"b:{said}", id=f"b-{turns}")]}


async def note(state: Chat) -> Chat:
    """Write in parallel to ``ask``."""
    return {"messages": [AIMessage("c", id=f"c-{state.get('turns', 0)}")]}


def chat_graph(saver: BaseCheckpointSaver[Any]) -> CompiledStateGraph[Any, Any, Any, Any]:
    """answer, then ask and note at once."""
    graph = StateGraph(Chat)
    graph.add_node("answer", answer)
    graph.add_node("ask", ask)
    graph.add_node("note", note)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", "ask")
    graph.add_edge("answer", "note")
    graph.add_edge("ask", END)
    graph.add_edge("note", END)
    return graph.compile(checkpointer=saver)


def view(state: StateSnapshot) -> Any:
    """What must be equal in two savers."""
    messages = [(message.id, message.content) for message in state.values.get("messages", [])]
    rest = {name: value for name, value in state.values.items() if name != "messages"}
    asked = [task.interrupts[0].value for task in state.tasks if task.interrupts]
    return messages, rest, state.next, asked, (state.metadata or {}).get("source")


def thread(thread_id: str, *, ns: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    """A config."""
    about = {"thread_id": thread_id, "checkpoint_ns": ns}
    if checkpoint_id is not None:
        about["checkpoint_id"] = checkpoint_id
    return {"configurable": about}


def checkpoint(
    values: dict[str, Any] | None = None, versions: dict[str, Any] | None = None
) -> Checkpoint:
    """A new checkpoint with these channels."""
    values = values or {}
    return Checkpoint(
        v=4,
        id=str(uuid6()),
        ts="2026-01-01T00:00:00+00:00",
        channel_values=values,
        channel_versions=versions if versions is not None else dict.fromkeys(values, "1"),
        versions_seen={},
        updated_channels=None,
    )


def about(step: int = 0, **more: Any) -> CheckpointMetadata:
    """Metadata of a step."""
    return {"source": "loop", "step": step, "parents": {}, **more}  # type: ignore[return-value]
