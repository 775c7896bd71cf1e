"""What a turn starts the graph with: the message, a decision, or nothing where an earlier attempt
goes on."""

from __future__ import annotations

import logging
from typing import Any, Literal, cast

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
)
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, Interrupt

from core.conversations.inbound import Decision, Message
from core.engine.mailbox import Turn
from core.errors import AssistantError
from core.settings.groups import Settings
from graph.build import Graph
from graph.replay import replay
from nodes.state import APPROVAL, Emit, State, TurnState, question

log = logging.getLogger(__name__)


class NothingWaits(AssistantError):
    """A decision came for which no turn waits any more."""

    code = "nothing_waits"

    def __init__(self) -> None:
        super().__init__(
            "nothing waits for this decision any more; it was decided before, or the conversation "
            "has gone on. Ask again for what you want done"
        )


async def decided(
    turn: Turn, decision: Decision, *, graph: Graph, config: RunnableConfig, tell: Emit
) -> tuple[str, Command[Any] | Literal[False] | None]:
    """Id of the message whose turn goes on with a decision, and what to resume the graph with; None
    resumes without it, False: nothing is left to do. All that the turn has said so far is told
    again: to a client this run is another try of the same answer. Raises NothingWaits."""
    snapshot = await graph.aget_state(config)
    values = cast("State", snapshot.values)
    waits = [entry for entry in snapshot.interrupts if _approval(entry) == decision.approval_id]
    asked = question(values.get("messages", []))
    # An earlier attempt of this turn may have gone on from the node that waited.
    if asked is None or not (waits or decision.id in values.get("decided", ())):
        raise NothingWaits
    replay(snapshot, turn, tell)
    if waits:
        given = {
            "choice": decision.choice,
            "arguments": decision.arguments,
            "reason": decision.reason,
        }
        resume = {waits[0].id: given}
        return asked, Command(resume=resume, update={"decided": [decision.id]})
    return asked, None if snapshot.tasks else False


def _approval(waiting: Interrupt) -> str:
    """Which decision a node waits for; empty for what no decision can answer."""
    about: object = waiting.value
    return str(cast("dict[str, Any]", about).get(APPROVAL, "")) if isinstance(about, dict) else ""


async def start(
    turn: Turn,
    message: Message,
    *,
    graph: Graph,
    config: RunnableConfig,
    tell: Emit,
    settings: Settings,
) -> State | Literal[False] | None:
    """What to start the graph with; None resumes, False: nothing is left to do."""
    if turn.attempt == 1 and message.retry_of is None:
        return fresh_input(message, settings)
    snapshot = await graph.aget_state(config)
    values = cast("State", snapshot.values)
    started = cast("dict[str, Any]", values.get("turn") or {})
    if started.get("message_id") != message.id:
        gone = _from(values.get("messages", []), message.retry_of)
        return fresh_input(message, settings, gone)
    replay(snapshot, turn, tell)
    # Not snapshot.next: it is empty where a crash fell between a node's writes and its
    # checkpoint.
    if snapshot.tasks:
        return None
    if answered(values.get("messages", []), message.retry_of or message.id):
        return False
    # Never an end without an answer, whatever part of the state a crash has left.
    log.warning("run %s: nothing to go on with and no answer; it begins anew", turn.run_id)
    return fresh_input(message, settings)


def fresh_input(
    message: Message, settings: Settings, gone: list[RemoveMessage] | None = None
) -> State:
    """The graph's input for a message that begins."""
    default = settings.orchestrator.autonomous_mode
    autonomous = default if message.autonomous is None else message.autonomous
    state: TurnState = {
        "message_id": message.id,
        "autonomous": autonomous,
        "rounds": 0,
        "iteration": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "estimated": False,
    }
    asked = HumanMessage(message.text, id=message.retry_of or message.id)
    messages = cast("list[AnyMessage]", [*(gone or ()), *_history(message), asked])
    return {"messages": messages, "turn": state}


def answered(messages: list[AnyMessage], message_id: str) -> bool:
    """Whether a message has its answer: one after it that asks for no more tools."""
    places = [i for i, m in enumerate(messages) if m.id == message_id]
    after = messages[places[-1] + 1 :] if places else []
    return any(isinstance(m, AIMessage) and not m.tool_calls for m in after)


def refused_turn(values: State) -> dict[str, Any] | None:
    """An update of the state that takes the newest turn out of it; None: there is none."""
    asked = question(values.get("messages", []))
    gone = _from(values.get("messages", []), asked)
    # No attempt may take what is left for its own.
    return {"messages": gone, "turn": {**values["turn"], "message_id": ""}} if gone else None


def _history(message: Message) -> list[AnyMessage]:
    """What a stateless client says was said before."""
    result: list[AnyMessage] = []
    for number, item in enumerate(message.history):
        name, text = f"{message.id}-h{number}", str(item.get("content") or "")
        match item.get("role"):
            case "assistant":
                result.append(AIMessage(text, id=name))
            case "system" | "developer":
                result.append(SystemMessage(text, id=name))
            case _:
                result.append(HumanMessage(text, id=name))
    return result


def _from(messages: list[AnyMessage], message_id: str | None) -> list[RemoveMessage]:
    """Removal of a message that is tried again and of all that came of it."""
    if message_id is None:
        return []
    humans = [i for i, m in enumerate(messages) if isinstance(m, HumanMessage)]
    exact = [i for i in humans if messages[i].id == message_id]
    start = exact[-1] if exact else None
    if start is None:
        return []
    return [RemoveMessage(id=str(m.id)) for m in messages[start:]]
