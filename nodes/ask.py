"""A question to the model that the user does not see: for grades and summaries."""

from __future__ import annotations

from contextlib import aclosing

from langgraph.runtime import Runtime

from core.models.pieces import Answer
from nodes.prompts import prompt
from nodes.state import Context, TurnState


async def ask(
    runtime: Runtime[Context], turn: TurnState, *, prompt_name: str, text: str, max_tokens: int
) -> Answer:
    """The model's answer to a prompt of ours and a text. Raises ModelError, StoreError."""
    services = runtime.context.services
    answer = Answer()
    stream = services.gateway.stream(
        [{"role": "system", "content": prompt(prompt_name)}, {"role": "user", "content": text}],
        None,
        settings=services.settings.current,
        user_id=turn["user_id"],
        thread_id=turn["run_id"].rpartition(".")[0],
        max_tokens=max_tokens,
    )
    async with aclosing(stream):
        async for pieces in stream:
            answer.add(pieces)
            runtime.heartbeat()
    return answer
