"""Wiring of the graph, and nothing else.

    START → (recall) → assistant ⇄ guard → tool_agent (one per call)
                          ↓
                      (evaluate) → (remember) → END

Steps in brackets run only when there is something for them to do: a plain turn is one superstep.
Edges are async, because LangGraph takes a thread for each that is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy, TimeoutPolicy

from core.errors import StoreUnavailable
from core.live_settings.live import LiveSettings
from core.settings.groups import Settings
from graph.checkpoint.select import Saver
from nodes.assistant import assistant
from nodes.evaluate import evaluate
from nodes.guard import fan_out, guard
from nodes.recall import needs_recall, recall
from nodes.remember import needs_remember, remember
from nodes.state import Context, State, ToolTask, acted
from nodes.tool_agent import tool_agent

Graph = CompiledStateGraph[State, Context, State, State]

RETRY = RetryPolicy(
    max_attempts=3, initial_interval=0.2, max_interval=2.0, retry_on=StoreUnavailable
)
"""Only what is safe to repeat: nodes with no output of their own, when Redis was away."""

LAST_NODE = "remember"
"""The node after which a turn has ended, for changes of the state from outside the graph."""

SILENCE = 3700.0
"""Seconds without a heartbeat after which a node counts as hung. A backstop: the gateway and the
tools have their own, shorter limits, the longest of which is an hour."""


def build_graph(settings: LiveSettings, saver: Saver | None) -> Graph:
    """The compiled graph; its edges follow the live settings."""
    graph: StateGraph[State, Context, State, State] = StateGraph(State, context_schema=Context)
    silence = TimeoutPolicy(idle_timeout=SILENCE, refresh_on="heartbeat")
    graph.add_node("recall", recall, retry_policy=RETRY)
    graph.add_node("assistant", assistant, timeout=silence)
    graph.add_node("guard", guard)
    graph.add_node("tool_agent", tool_agent, input_schema=ToolTask)
    graph.add_node("evaluate", evaluate, timeout=silence)
    graph.add_node(LAST_NODE, remember, timeout=silence)
    graph.add_conditional_edges(START, first_step, ["recall", "assistant"])
    graph.add_edge("recall", "assistant")
    after = after_assistant(lambda: settings.current)
    graph.add_conditional_edges("assistant", after, ["guard", "evaluate", "remember", END])
    graph.add_conditional_edges("guard", fan_out, ["tool_agent", "assistant"])
    graph.add_edge("tool_agent", "assistant")
    again = after_evaluate(lambda: settings.current)
    graph.add_conditional_edges("evaluate", again, ["assistant", "remember", END])
    graph.add_edge(LAST_NODE, END)
    return graph.compile(checkpointer=saver, name="assistant")


async def first_step(state: State) -> str:
    """recall, when a stopped turn left something to repair."""
    return "recall" if needs_recall(state) else "assistant"


def after_assistant(settings: Callable[[], Settings]) -> Callable[[State], Awaitable[str]]:
    """Where an answer of the model leads."""

    async def route(state: State) -> str:
        last = state["messages"][-1]
        if not isinstance(last, AIMessage) or last.tool_calls:
            return "guard"
        if state["turn"]["autonomous"] and acted(state["messages"]):
            return "evaluate"
        return _end(state, settings())

    return route


def after_evaluate(settings: Callable[[], Settings]) -> Callable[[State], Awaitable[str]]:
    """Another round, or the end."""

    async def route(state: State) -> str:
        return _end(state, settings()) if state.get("passed") else "assistant"

    return route


def _end(state: State, settings: Settings) -> str:
    return "remember" if needs_remember(state, settings.memory.short_term_window) else END


def drawing(graph: Graph) -> dict[str, Any]:
    """The graph for people: a mermaid text, nodes and edges."""
    drawn = graph.get_graph()
    return {
        "mermaid": drawn.draw_mermaid(),
        "nodes": [{"id": node} for node in drawn.nodes],
        "edges": [
            {"source": e.source, "target": e.target, "conditional": e.conditional}
            for e in drawn.edges
        ],
    }
