"""The graph's state: the window of messages, the rolling summary, and the turn under way.

The full transcript is not here but in ``core.conversations.threads``, so that a turn costs the
same at message 10 and at message 2,000.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel

from core.engine.mailbox import Turn
from core.events import Event
from core.services import Services
from nodes.reducer import messages_reducer
from tools.toolbox import TurnTools

SNAPSHOT_FREQUENCY = 10
"""Writes of messages between two snapshots of the window: loading replays half of them on
average."""

INTERNAL = "internal"
"""Key in additional_kwargs of messages that the user neither wrote nor sees (the grader's)."""


OUTCOME = "outcome"
"""Key in additional_kwargs of tool results that neither succeeded nor failed: refused, unknown."""

KEPT = "kept"
"""Key in additional_kwargs of tool results whose whole text is kept (core/engine/kept.py)."""

CORRECTION = "correction"
"""Key in additional_kwargs of tool results that only say what was wrong with the call: it could not
be read, or there is no such tool."""

UNTRUSTED = "untrusted"
"""Key in additional_kwargs of tool results that hold text of strangers."""

APPROVAL = "approval_id"
"""Key in what a node waits with (``langgraph.types.interrupt({APPROVAL: …})``): the name that the
decision must give. The node gets back ``{choice, arguments, reason}``."""


DECISIONS = 20
"""Decisions that the state knows: more than can be under way at once."""


class TurnState(TypedDict):
    """How far a turn has come: ``message_id`` says which turn, ``rounds`` counts tool rounds,
    ``iteration`` graded answers, and the tokens are those of all its model calls so far. The turn
    itself is ``Context.turn``.

    Earlier versions stored ``run_id`` and ``user_id`` here; what was stored by them is still read.
    """

    message_id: str
    autonomous: bool
    rounds: int
    iteration: int
    prompt_tokens: int
    completion_tokens: int
    estimated: bool


def newest_decisions(before: list[str], more: list[str]) -> list[str]:
    """Reducer: several decisions may reach nodes of one step, so none may take another's place."""
    return [*before, *more][-DECISIONS:]


class State(TypedDict):
    """What is checkpointed of a conversation. ``density``: the model server's tokens per token that
    was estimated for it; ``untrusted``: text of strangers has left the messages for the summary;
    ``told``: which of its parts the user knows to be left out of requests; ``decided``: the newest
    decisions with which turns went on that had waited."""

    messages: Annotated[
        list[AnyMessage], DeltaChannel(messages_reducer, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]
    summary: NotRequired[str]
    turn: TurnState
    passed: NotRequired[bool]
    density: NotRequired[float]
    untrusted: NotRequired[bool]
    told: NotRequired[list[str]]
    decided: Annotated[NotRequired[list[str]], newest_decisions]


class ToolTask(TypedDict):
    """What one tool agent gets: one call of the model."""

    call: dict[str, Any]


Emit = Callable[[Event], None]


def untold(_event: Event) -> None:
    """An event that nobody is told of."""


@dataclass(frozen=True)
class Context:
    """What every node may use. Services are the same for all turns of a process; ``turn`` is the
    one under way, ``tools`` what it may call from its beginning to its end, and ``emit`` tells
    those who follow it."""

    services: Services
    tools: TurnTools
    turn: Turn
    emit: Emit = untold


def question(messages: list[AnyMessage]) -> str | None:
    """Id of the user's last message."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage) and not message.additional_kwargs.get(INTERNAL):
            return message.id
    return None


def of_this_turn(messages: list[AnyMessage]) -> list[AnyMessage]:
    """The messages since the user's last one, without it."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if isinstance(message, HumanMessage) and not message.additional_kwargs.get(INTERNAL):
            return messages[index + 1 :]
    return messages


def acted(messages: list[AnyMessage]) -> bool:
    """Whether the turn under way has called tools."""
    return any(isinstance(m, ToolMessage) for m in of_this_turn(messages))


def current_answer(messages: list[AnyMessage]) -> list[AnyMessage]:
    """The messages of the answer under way: since the last message of the user or the grader."""
    for index in range(len(messages) - 1, -1, -1):
        if isinstance(messages[index], HumanMessage):
            return messages[index + 1 :]
    return messages


def answer_text(messages: list[AnyMessage]) -> str:
    """The text of the answer under way, what was said before a tool call included."""
    texts = [m.text for m in current_answer(messages) if isinstance(m, AIMessage)]
    return "\n\n".join(text for text in texts if text)


def corrected_rounds(messages: list[AnyMessage]) -> int:
    """Rounds of the answer under way in which a call was sent back to be made again."""
    wrong = {
        m.tool_call_id
        for m in current_answer(messages)
        if isinstance(m, ToolMessage) and m.additional_kwargs.get(CORRECTION)
    }
    return sum(
        any(call["id"] in wrong for call in m.tool_calls)
        for m in (current_answer(messages) if wrong else ())
        if isinstance(m, AIMessage)
    )


def any_untrusted(messages: list[AnyMessage]) -> bool:
    """Whether a tool brought text of strangers."""
    return any(isinstance(m, ToolMessage) and m.additional_kwargs.get(UNTRUSTED) for m in messages)


def dangling_calls(messages: list[AnyMessage]) -> list[dict[str, Any]]:
    """Tool calls without a result, as a cancelled or crashed turn leaves them."""
    answered = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    return [
        dict(call)
        for m in messages
        if isinstance(m, AIMessage)
        for call in m.tool_calls
        if call["id"] not in answered
    ]
