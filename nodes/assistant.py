"""The assistant: one call of the model, streamed as events."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.runtime import Runtime

from core.events import (
    MessageCompleted,
    Notice,
    ReasoningDelta,
    TextDelta,
    ToolStarted,
    TurnStarted,
    Usage,
)
from core.models.errors import ModelError
from core.models.estimate import messages_tokens
from core.models.wire.pieces import (
    ModelAnswer,
    NoticePiece,
    Piece,
    ReasoningPiece,
    ReclassifyPiece,
    TextPiece,
)
from nodes.request.context import model_messages
from nodes.request.offers import may_call_tools, offered
from nodes.request.results import finished, result
from nodes.request.room import Room
from nodes.request.shortage import KEPT_KEYS, Shortage
from nodes.request.shown import BETWEEN, about, answer_id, show
from nodes.request.suspects import Suspects
from nodes.state import (
    CORRECTION,
    Context,
    Emit,
    State,
    TurnState,
    answer_text,
    current_answer,
    of_this_turn,
)
from tools.toolbox import NO_TOOLS, Offer

TOOLS_SHARE = 3
"""Tools are offered where their schemas take at most a third of the context."""

MORE_PLACE = (
    "Thinking filled the model's context; it is asked again with less of the conversation. "
    "A larger context helps."
)


async def assistant(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask the model; its text and thinking go out as they come. Raises ModelError."""
    before = answer_text(state["messages"])
    sink = _Sink(runtime.context, state, before)
    services = runtime.context.services
    gateway, settings = services.gateway, services.settings.current
    known = state.get("density", 1.0)
    room = Room(await gateway.context_window(settings), known)
    offer, suspects = offered(state, runtime.context), Suspects(state)
    while True:
        answer = ModelAnswer()
        try:
            await _ask(suspects.state, runtime, room, offer, answer, sink)
        except ModelError as error:
            # The estimate was wrong, or the server's context is smaller than it says.
            if answer.text or not (room.shrink(error) or suspects.leave_out(error, sink.emit)):
                raise
        else:
            if not room.make_place(answer, settings.model.max_tokens):
                break
            sink.emit(Notice("info", MORE_PLACE))
    await room.learn(gateway, settings, answer.usage)
    if not may_call_tools(state, settings):
        answer = _only(answer, offer)
    update = _update(state, runtime.context, answer, before)
    update = suspects.remembered(update, state["messages"]) | sink.news()
    return update if room.density == known else {**update, "density": room.density}


async def _ask(
    state: State,
    runtime: Runtime[Context],
    room: Room,
    offer: Offer,
    answer: ModelAnswer,
    sink: _Sink,
) -> None:
    """One request; what comes is added to the answer and shown."""
    services, turn = runtime.context.services, runtime.context.turn
    settings = services.settings.current
    if offer.tokens > room.size // TOOLS_SHARE:
        offer = NO_TOOLS
    max_tokens = settings.model.max_tokens
    left = room.size - room.reply(max_tokens) - offer.tokens
    messages, shortage = await model_messages(state, runtime.context, settings, room=left)
    room.estimate = messages_tokens(messages) + offer.tokens
    stream = services.gateway.stream(
        messages,
        offer.schemas or None,
        settings=settings,
        user_id=turn.inbound.user_id,
        thread_id=turn.thread_id,
        max_tokens=room.most(max_tokens),
    )
    size = f"{room.limit}/{settings.memory.short_term_window}"
    async with aclosing(stream):
        async for pieces in stream:
            sink.tell(shortage, size)
            answer.add(pieces)
            sink.take(pieces)
            runtime.heartbeat()


class _Sink:
    """Pieces of the model → events."""

    def __init__(self, context: Context, state: State, before: str) -> None:
        self._emit = context.emit
        self._turn = context.turn
        self._state = state
        self._between = BETWEEN if before else ""
        self.before = before
        self.emit = context.emit
        self._told = list(state.get("told", ()))
        self._shortage: Shortage | None = None

    def tell(self, shortage: Shortage, size: str) -> None:
        """Say what a request does not hold, now that it is answered; once for each request."""
        if shortage is self._shortage:
            return
        self._shortage = shortage
        for key, notice in shortage.notices(size, self._told):
            self._told.append(key)
            self.emit(notice)

    def news(self) -> dict[str, Any]:
        """An update of the state: what was told for the first time."""
        known = self._state.get("told", [])
        return {"told": self._told[-KEPT_KEYS:]} if len(self._told) > len(known) else {}

    def take(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            match piece:
                case TextPiece(text):
                    self._emit(TextDelta(self._between + text))
                    self._between = ""
                case ReasoningPiece(text):
                    self._emit(ReasoningDelta(text))
                case NoticePiece(level, text):
                    self._emit(Notice(level, text))
                case ReclassifyPiece(text):
                    self._restart(text)
                case _:
                    pass

    def _restart(self, thinking: str) -> None:
        """What was shown as text was thinking: reset what clients show, as a new attempt does, and
        show again what stays."""
        turn = self._turn
        self._between = BETWEEN if self.before else ""
        self._emit(TurnStarted(turn.inbound.id, turn.attempt + 1))
        self._emit(ReasoningDelta(thinking))
        show(of_this_turn(self._state["messages"]), turn.run_id, self._emit)


def _update(state: State, context: Context, answer: ModelAnswer, before: str) -> dict[str, Any]:
    run_id, turn = context.turn.run_id, state["turn"]
    answer = _renamed(answer, state["messages"])
    calls: list[dict[str, Any]] = [
        *({"name": c.name, "args": c.arguments, "id": c.id} for c in answer.calls),
        *({"name": c.name, "args": {}, "id": c.id} for c in answer.invalid),
    ]
    number = len(current_answer(state["messages"]))
    name = f"{answer_id(run_id)}-{turn['iteration']}-{number}"
    usage = _sum(turn, answer.usage)
    message = AIMessage(answer.text, tool_calls=calls, id=name)
    if not calls:
        message.response_metadata = about(answer.finish.model if answer.finish else "", usage)
        _complete(run_id, answer, before, usage, context.emit)
        return {"messages": [message]}
    refused = _refuse_invalid(answer, context.emit)
    spent: TurnState = {
        **turn,
        "rounds": turn["rounds"] + 1,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "estimated": usage.estimated,
    }
    return {"messages": [message, *refused], "turn": spent}


def _renamed(answer: ModelAnswer, messages: list[AnyMessage]) -> ModelAnswer:
    """Calls under ids that the conversation has not seen: servers begin anew with call_0 each
    time."""
    seen = {call["id"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls}
    if not seen.intersection(call.id for call in (*answer.calls, *answer.invalid)):
        return answer
    number = len(seen)

    def fresh(call_id: str) -> str:
        return f"{call_id}-{number}" if call_id in seen else call_id

    answer.calls = tuple(replace(call, id=fresh(call.id)) for call in answer.calls)
    answer.invalid = tuple(replace(call, id=fresh(call.id)) for call in answer.invalid)
    return answer


def _only(answer: ModelAnswer, offer: Offer) -> ModelAnswer:
    """The answer without calls of tools that were not offered: some models make them again and
    again. Raises ModelError when there is nothing else in the answer."""
    wanted = bool(answer.calls or answer.invalid)
    answer.calls = tuple(call for call in answer.calls if call.name in offer.names)
    answer.invalid = tuple(call for call in answer.invalid if call.name in offer.names)
    if wanted and not answer.calls and not answer.invalid and not answer.text.strip():
        raise ModelError(
            "other",
            "The model went on calling tools instead of answering. Try again, allow more rounds "
            "(orchestrator.max_iterations), or choose another model.",
        )
    return answer


def _sum(turn: TurnState, usage: Usage | None) -> Usage:
    """Tokens of the turn so far."""
    last = usage or Usage(estimated=True)
    return Usage(
        turn["prompt_tokens"] + last.prompt_tokens,
        turn["completion_tokens"] + last.completion_tokens,
        turn["estimated"] or last.estimated,
    )


def _complete(run_id: str, answer: ModelAnswer, before: str, usage: Usage, emit: Emit) -> None:
    finish = answer.finish
    if not answer.text.strip():
        raise _empty(answer)
    if finish is not None and finish.reason in ("length", "truncated"):
        emit(Notice("warning", _CUT[finish.reason]))
    text = before + BETWEEN + answer.text if before else answer.text
    model = finish.model if finish is not None else ""
    emit(MessageCompleted(answer_id(run_id), text, usage, model))


_CUT = {
    "length": "The answer reached the length limit; say “go on” for the rest.",
    "truncated": "The model server stopped before it said that it had finished; "
    "the answer may be incomplete.",
}


def _empty(answer: ModelAnswer) -> ModelError:
    if answer.finish is not None and answer.finish.reason == "length":
        return ModelError(
            "truncated",
            "The model spent all its tokens on thinking and gave no answer. "
            "Raise model.max_tokens or the context size, or try again.",
        )
    return ModelError(
        "other", "The model gave an empty answer. Try again, or choose another model."
    )


def _refuse_invalid(answer: ModelAnswer, emit: Emit) -> list[AnyMessage]:
    """Calls whose arguments cannot be read are answered at once: nothing runs."""
    results: list[AnyMessage] = []
    for call in answer.invalid:
        wanted = {"id": call.id, "name": call.name}
        message = result(wanted, "error", call.error, **{CORRECTION: True})
        emit(ToolStarted(call.id, call.name, {}))
        emit(finished(message))
        results.append(message)
    return results
