"""After the answer: what left the window becomes part of the rolling summary.

Runs once in half a window of messages, after the answer is complete, so that nobody waits for it.
"""

from __future__ import annotations

import logging
from typing import Any

from langchain_core.messages import AnyMessage, RemoveMessage
from langgraph.runtime import Runtime

from core.errors import AssistantError
from core.models.estimate import text_tokens
from nodes.evaluate import transcript
from nodes.request.ask import ask
from nodes.request.window import overflow
from nodes.state import Context, State, any_untrusted

log = logging.getLogger(__name__)

MAX_TOKENS = 600
HARD_LIMIT = 4
"""Windows of messages that the state may hold while the summary keeps failing."""


def needs_remember(state: State, window_size: int) -> bool:
    """Whether enough messages have left the window."""
    return bool(overflow(state["messages"], window_size))


async def remember(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Summarise what leaves the window. When that fails it is tried again after the next turn."""
    size = runtime.context.services.settings.current.memory.short_term_window
    old = overflow(state["messages"], size)
    if not old:
        return {}
    summary = await _summarise(state, old, runtime)
    if summary is None and len(state["messages"]) < HARD_LIMIT * size:
        return {}
    update: dict[str, Any] = {"messages": [RemoveMessage(id=str(message.id)) for message in old]}
    if summary is not None:
        update["summary"] = summary
    if any_untrusted(old):
        update["untrusted"] = True
    return update


async def _summarise(state: State, old: list[AnyMessage], runtime: Runtime[Context]) -> str | None:
    known = state.get("summary") or "(none yet)"

    def text(tokens: int) -> str:
        before = f"Summary so far:\n{known}\n\nNew messages:\n"
        return before + transcript(old, tokens - text_tokens(before))

    try:
        answer = await ask(runtime, prompt_name="summary", text=text, max_tokens=MAX_TOKENS)
    except AssistantError as error:
        log.warning("run %s: no summary: %s", runtime.context.turn.run_id, error)
        return None
    return answer.text.strip() or None
