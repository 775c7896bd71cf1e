"""The OpenAI face: /v1/models and /v1/chat/completions, for every client that speaks it.

A stateless client sends its history; it runs in an ephemeral conversation that expires. With the
header `X-Thread-Id` or `metadata.thread_id` the conversation is a lasting one, and only the last
message counts.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from api.middleware.principal import signed_in
from api.middleware.problems import also
from api.openai.bodies import MODEL_ID, ChatRequest, check_request, split_history
from api.openai.chunks import DONE, Encoder
from api.routes.parts import Parts
from api.stream import Streams, respond
from core.accounts.principal import Principal
from core.conversations.conversations import Conversations
from core.conversations.following import follow
from core.conversations.inbound import Message
from core.conversations.journal import START, Entry, last_id
from core.errors import Conflict, Invalid
from core.events import ThreadDeleted, TurnFinished
from core.ids import new_id, run_id_for
from core.services import Services

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes: stateless clients send the whole history each time."""


@dataclass(frozen=True)
class Completion:
    """One request under way."""

    user: Principal
    inbound: Message
    after: str
    lasting: bool
    left_out: int
    """Of the client's history, the oldest messages that are not stored."""

    @property
    def run_id(self) -> str:
        """The run that answers it."""
        return run_id_for(self.inbound.thread_id, self.inbound.id)


class OpenAI:
    """The handlers."""

    def __init__(self, services: Services, conversations: Conversations, streams: Streams) -> None:
        self._services = services
        self._conversations = conversations
        self._streams = streams

    async def models(self) -> dict[str, object]:
        """The one model that this server is."""
        model = {"id": MODEL_ID, "object": "model", "created": 1767225600, "owned_by": "assistant"}
        return {"object": "list", "data": [model]}

    async def complete(self, request: Request, body: ChatRequest) -> Response:
        """Answer the last message, streaming or at once."""
        check_request(body)
        completion = await self._begin(request, body)
        encoder = Encoder("chatcmpl-" + completion.run_id.replace(".", "-"), int(time.time()))
        headers = {"X-Thread-Id": completion.inbound.thread_id, "X-Run-Id": completion.run_id}
        if completion.left_out:
            headers["X-History-Left-Out"] = str(completion.left_out)
        accepted = await self._conversations.send(completion.inbound)
        if accepted.duplicate:
            raise Conflict(
                "this Idempotency-Key was used before; its answer is in the conversation"
            )
        if body.stream:
            wants_usage = body.stream_options is not None and body.stream_options.include_usage
            response = respond(self._stream(completion, encoder, wants_usage=wants_usage))
            response.headers.update(headers)
            return response
        entries = self._entries(completion)
        async for entry in entries:
            encoder.take(entry)
            if encoder.ended:
                break
        await entries.aclose()
        return JSONResponse(encoder.completion(), headers=headers)

    async def _begin(self, request: Request, body: ChatRequest) -> Completion:
        user = signed_in(request)
        asked = split_history(body)
        history, left_out = asked.history, asked.left_out
        thread_id = request.headers.get("x-thread-id") or (body.metadata or {}).get("thread_id")
        if thread_id is not None and not isinstance(thread_id, str):
            raise Invalid("metadata.thread_id must be a string")
        lasting = bool(thread_id)
        if thread_id:
            await self._services.threads.get(user.user_id, thread_id)
            after = await last_id(self._services.store, thread_id)
            history, left_out = (), 0
        else:
            thread = await self._conversations.ephemeral(user.user_id)
            thread_id, after = thread.id, START
        inbound = Message(
            id=request.headers.get("idempotency-key") or new_id("m"),
            user_id=user.user_id,
            thread_id=thread_id,
            channel="openai",
            text=asked.text,
            history=history,
        )
        return Completion(user, inbound, after, lasting, left_out)

    async def _entries(self, completion: Completion) -> AsyncGenerator[Entry]:
        """The run's entries. An ephemeral run stops with its reader: it has no other."""
        thread_id, ended = completion.inbound.thread_id, False
        try:
            async with self._streams.subscribe(completion.user, thread_id) as subscription:
                store = self._services.store
                batches = follow(store, subscription, thread_id, completion.after)
                async for entries in batches:
                    for entry in entries:
                        if entry.run_id == completion.run_id or entry.type == ThreadDeleted.type:
                            ended = entry.type == TurnFinished.type
                            yield entry
        finally:
            if not ended and not completion.lasting:
                await self._conversations.abandon(completion.run_id)

    async def _stream(
        self, completion: Completion, encoder: Encoder, *, wants_usage: bool
    ) -> AsyncGenerator[bytes]:
        yield encoder.chunk({"role": "assistant", "content": ""})
        entries = self._entries(completion)
        try:
            async for entry in entries:
                delta = encoder.take(entry)
                if delta is not None:
                    yield encoder.chunk(delta)
                if encoder.ended:
                    break
        finally:
            await entries.aclose()
        if encoder.answer.status != "completed":
            yield encoder.error_frame()
        else:
            yield encoder.chunk({}, "stop")
            if wants_usage:
                yield encoder.usage_chunk()
        yield DONE


def add_openai(router: APIRouter, parts: Parts) -> None:
    """Routes under /v1."""
    face = OpenAI(parts.services, parts.conversations, parts.streams)
    router.add_api_route("/v1/models", face.models, methods=["GET"])
    router.add_api_route(
        "/v1/chat/completions",
        face.complete,
        methods=["POST"],
        response_model=None,
        responses=also(404, 409, 429),
    )
