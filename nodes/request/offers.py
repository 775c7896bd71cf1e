"""Which tools a request offers."""

from __future__ import annotations

from langchain_core.messages import AnyMessage, ToolMessage

from core.settings.groups import Settings
from nodes.request.window import window
from nodes.state import KEPT, Context, State, TurnState, corrected_rounds, of_this_turn
from tools.toolbox import NO_TOOLS, Offer

READ_ROUNDS = 3
"""Rounds beyond the allowed ones in which the model may read on in a result of this turn that was
too long: else it would have to answer from the beginning of it."""


CORRECTIONS = 3
"""Rounds of an answer that do not count because a call in them was sent back: the model may make it
again, but not for ever."""


def may_call_tools(state: State, settings: Settings) -> bool:
    """Off: tools once, then an answer. Autonomous: a round of tools per iteration allowed."""
    return _spent(state) < _rounds(state["turn"], settings)


def offered(state: State, context: Context) -> Offer:
    """All tools that may be of use now. The one that reads kept results only while the model sees
    one: what it cannot use costs tokens all the same."""
    settings, tools, turn = context.services.settings.current, context.tools, state["turn"]
    if may_call_tools(state, settings):
        seen = window(state["messages"], settings.memory.short_term_window)
        return tools.everything if _any_kept(seen) else tools.usual
    more = _spent(state) < _rounds(turn, settings) + READ_ROUNDS
    names = tools.reading.names
    if more and any(_is_long(message, names) for message in of_this_turn(state["messages"])):
        return tools.reading
    return NO_TOOLS


def _rounds(turn: TurnState, settings: Settings) -> int:
    return settings.orchestrator.max_iterations if turn["autonomous"] else 1


def _spent(state: State) -> int:
    """Rounds of the answer under way that count."""
    rounds = state["turn"]["rounds"]
    return rounds - min(corrected_rounds(state["messages"]), CORRECTIONS) if rounds else 0


def _any_kept(messages: list[AnyMessage]) -> bool:
    return any(_is_long(message, frozenset()) for message in messages)


def _is_long(message: AnyMessage, names: frozenset[str]) -> bool:
    """A kept result, or a part of one."""
    if not isinstance(message, ToolMessage):
        return False
    return bool(message.additional_kwargs.get(KEPT)) or message.name in names
