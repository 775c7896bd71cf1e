"""A question to the model that the user does not see: for grades and summaries."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from langgraph.runtime import Runtime

from core.models.errors import ModelError
from core.models.estimate import message_tokens, messages_tokens
from core.models.wire.pieces import ModelAnswer
from nodes.prompts import prompt
from nodes.request.room import Room
from nodes.state import Context


async def ask(
    runtime: Runtime[Context],
    *,
    prompt_name: str,
    text: Callable[[int], str],
    max_tokens: int,
) -> ModelAnswer:
    """The model's answer to a prompt of ours and a text, which is given the tokens that it may
    have. Raises ModelError, StoreError."""
    gateway, settings = runtime.context.services.gateway, runtime.context.services.settings.current
    room = Room(await gateway.context_window(settings))
    system = {"role": "system", "content": prompt(prompt_name)}
    while True:
        left = room.size - room.reply(max_tokens) - message_tokens(system)
        messages = [system, {"role": "user", "content": text(max(left, 0))}]
        room.estimate = messages_tokens(messages)
        answer = ModelAnswer()
        try:
            await _ask(runtime, messages, max_tokens, answer)
        except ModelError as error:
            if answer.text or not room.shrink(error):
                raise
        else:
            await room.learn(gateway, settings, answer.usage)
            return answer


async def _ask(
    runtime: Runtime[Context],
    messages: list[dict[str, Any]],
    max_tokens: int,
    answer: ModelAnswer,
) -> None:
    services, turn = runtime.context.services, runtime.context.turn
    stream = services.gateway.stream(
        messages,
        None,
        settings=services.settings.current,
        user_id=turn.inbound.user_id,
        thread_id=turn.thread_id,
        max_tokens=max_tokens,
    )
    async with aclosing(stream):
        async for pieces in stream:
            answer.add(pieces)
            runtime.heartbeat()
