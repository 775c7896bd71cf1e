"""Autonomous mode: grade an answer that needed tools, and send it back with a remark while it is
not good enough. A plain answer costs no second call of the model."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import orjson
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.runtime import Runtime

from core.errors import AssistantError
from core.events import Notice
from core.models.estimate import text_tokens
from nodes.request.ask import ask
from nodes.request.fitting import SMALLEST, middle_out
from nodes.state import INTERNAL, Context, State, TurnState

log = logging.getLogger(__name__)

MAX_MESSAGES = 30
MAX_CHARACTERS = 4000
MAX_TOKENS = 400
FRAME_TOKENS = 16
OBJECT = re.compile(r"\{.*\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Grade:
    """The grader's verdict: 0 to 1, and what is missing."""

    score: float
    missing: str


async def evaluate(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Pass the answer, or ask for a better one. A grader that fails ends the loop with what there
    is."""
    settings = runtime.context.services.settings.current.orchestrator
    turn = state["turn"]
    grade = await _grade(state, runtime)
    if grade is None:
        return {"passed": True}
    graded = turn["iteration"] + 1
    if grade.score >= settings.quality_threshold or graded >= settings.max_iterations:
        return {"passed": True}
    runtime.context.emit(
        Notice(
            "info",
            f"Grade {grade.score:.2f} of {settings.quality_threshold:.2f}: working on it again.",
        )
    )
    remark = HumanMessage(
        f"A reviewer found your answer wanting: {grade.missing or 'it misses what was asked'}. "
        "Give the complete, corrected answer.",
        id=f"{turn['message_id']}-review-{graded}",
        additional_kwargs={INTERNAL: True},
    )
    again: TurnState = {**turn, "iteration": graded, "rounds": 0}
    return {"passed": False, "messages": [remark], "turn": again}


async def _grade(state: State, runtime: Runtime[Context]) -> Grade | None:
    messages = state["messages"][-MAX_MESSAGES:]
    try:
        answer = await ask(
            runtime,
            prompt_name="grader",
            text=lambda tokens: transcript(messages, tokens),
            max_tokens=MAX_TOKENS,
        )
    except AssistantError as error:
        log.warning("run %s: the grader failed: %s", runtime.context.turn.run_id, error)
        return None
    grade = parse(answer.text)
    if grade is None:
        # Small models often cannot; the user has an answer and needs no word of it.
        log.info("run %s: no grade in what the grader said", runtime.context.turn.run_id)
    return grade


def parse(text: str) -> Grade | None:
    """The grader's JSON object, None for anything else."""
    found = OBJECT.search(text)
    if found is None:
        return None
    try:
        data = orjson.loads(found.group())
        score = float(data["score"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    if not 0 <= score <= 1:
        return None
    return Grade(score, str(data.get("missing") or "")[:500])


def transcript(messages: list[AnyMessage], tokens: int) -> str:
    """Messages as data, at most about so many tokens. Tags of ours inside them are defused."""
    lines = [f"[{_role(m)}] {m.text[:MAX_CHARACTERS]}" for m in messages]
    body = (
        "\n\n".join(shared(lines, tokens - FRAME_TOKENS))
        .replace("<transcript>", "‹transcript›")
        .replace("</transcript>", "‹/transcript›")
    )
    return f"<transcript>\n{body}\n</transcript>"


def shared(lines: list[str], tokens: int) -> list[str]:
    """The lines within so many tokens: long ones lose their middle, short ones stay whole."""
    sizes = sorted(text_tokens(line) + 1 for line in lines)
    left = max(tokens, 0)
    if sum(sizes) <= left:
        return lines
    share = 0
    for number, size in enumerate(sizes):
        share = left // (len(sizes) - number)
        if size > share:
            break
        left -= size
    if share < SMALLEST:
        return [middle_out("\n\n".join(lines), max(tokens, SMALLEST))]
    return [middle_out(line, share) for line in lines]


def _role(message: AnyMessage) -> str:
    match message:
        case AIMessage():
            return "assistant"
        case ToolMessage():
            return f"tool {message.name} ({message.status})"
        case HumanMessage() if message.additional_kwargs.get(INTERNAL):
            return "reviewer"
        case _:
            return "user"
