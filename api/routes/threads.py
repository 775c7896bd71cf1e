"""Conversations and their messages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.middleware.principal import signed_in
from api.middleware.problems import also
from api.routes.parts import Parts
from core.conversations.conversations import Conversations
from core.conversations.inbound import Message
from core.conversations.inbox import Accepted
from core.conversations.threads import Thread, Threads
from core.errors import Invalid
from core.ids import new_id

MESSAGE_LIMIT = 2 * 1024 * 1024
"""Bytes of a request with a message; the text itself has engine.max_message_bytes."""


class Strict(BaseModel):
    """Bodies with unknown fields are refused, so that a slip of the pen does not pass unseen."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewThread(Strict):
    """Body of POST /api/threads."""

    title: str = Field("", max_length=1000)


class ChangedThread(Strict):
    """Body of PATCH /api/threads/{id}."""

    title: str = Field(max_length=1000)


class NewMessage(Strict):
    """Body of POST /api/threads/{id}/messages."""

    text: str
    id: str | None = Field(None, description="Your id; sending it again is harmless for 25 hours.")
    attachments: list[str] = Field(default_factory=list, max_length=50, fail_fast=True)
    autonomous: bool | None = Field(
        None, description="Overrides orchestrator.autonomous_mode for this turn."
    )


class ThreadOut(BaseModel):
    """A conversation in a list."""

    id: str
    title: str
    created_at: str
    updated_at: str


class ThreadList(BaseModel):
    """A page of conversations."""

    items: list[ThreadOut]
    next: str | None


class ThreadDetail(ThreadOut):
    """A conversation with its newest messages."""

    messages: list[dict[str, Any]]
    messages_before: int | None
    pending_approvals: list[dict[str, Any]]
    running_run_id: str | None
    events_since: str


class AcceptedOut(BaseModel):
    """The message is stored and will be answered."""

    message_id: str
    run_id: str


class ThreadRoutes:
    """The handlers."""

    def __init__(self, threads: Threads, conversations: Conversations) -> None:
        self._threads = threads
        self._conversations = conversations

    async def create(self, request: Request, body: NewThread | None = None) -> ThreadOut:
        """Begin a conversation."""
        title = body.title if body is not None else ""
        return _out(await self._threads.create(signed_in(request).user_id, title=title))

    async def listed(
        self,
        request: Request,
        limit: int = Query(50, ge=1, le=200),
        cursor: str | None = Query(None),
    ) -> ThreadList:
        """Conversations, last used first."""
        user_id = signed_in(request).user_id
        found, following = await self._threads.listed(user_id, limit=limit, cursor=cursor)
        return ThreadList(items=[_out(thread) for thread in found], next=following)

    async def detail(
        self,
        request: Request,
        thread_id: str,
        limit: int = Query(50, ge=1, le=500),
        before: int | None = Query(None, ge=0, le=2**53),
    ) -> ThreadDetail:
        """A conversation with its newest messages, or those before a cursor."""
        thread = await self._threads.get(signed_in(request).user_id, thread_id)
        page = await self._threads.page(thread_id, limit=limit, before=before)
        return ThreadDetail(
            **_out(thread).model_dump(),
            messages=page.messages,
            messages_before=page.before,
            pending_approvals=[],
            running_run_id=page.running_run_id,
            events_since=page.events_since,
        )

    async def rename(self, request: Request, thread_id: str, body: ChangedThread) -> ThreadOut:
        """Change a conversation's title."""
        user_id = signed_in(request).user_id
        return _out(await self._threads.rename(user_id, thread_id, body.title))

    async def delete(self, request: Request, thread_id: str) -> Response:
        """Delete a conversation with everything in it."""
        user_id = signed_in(request).user_id
        await self._conversations.delete(user_id, thread_id)
        return Response(status_code=204)

    async def send(self, request: Request, thread_id: str, body: NewMessage) -> AcceptedOut:
        """Accept a message. Its answer comes as events."""
        if body.attachments:
            raise Invalid("attachments are not supported yet; paste the text instead")
        inbound = Message(
            id=body.id if body.id is not None else new_id("m"),
            user_id=signed_in(request).user_id,
            thread_id=thread_id,
            channel="api" if signed_in(request).kind == "key" else "web",
            text=body.text,
            autonomous=body.autonomous,
        )
        return _accepted(await self._conversations.send(inbound))

    async def retry(self, request: Request, thread_id: str) -> AcceptedOut:
        """Answer the last message again; the new answer takes the place of the old one."""
        user_id = signed_in(request).user_id
        return _accepted(await self._conversations.retry(user_id, thread_id, channel="web"))

    async def cancel(self, request: Request, run_id: str) -> dict[str, str]:
        """Ask a run to stop; its `turn_finished` event confirms it."""
        await self._conversations.stop(signed_in(request).user_id, run_id)
        return {"run_id": run_id}


def add_messages(router: APIRouter, parts: Parts) -> None:
    """What is asked for most, with the body that may be largest."""
    routes = ThreadRoutes(parts.services.threads, parts.conversations)
    path = "/api/threads/{thread_id}/messages"
    router.add_api_route(path, routes.send, methods=["POST"], status_code=202, responses=also(429))


def add_threads(router: APIRouter, parts: Parts) -> None:
    """Conversations and runs."""
    routes = ThreadRoutes(parts.services.threads, parts.conversations)
    many, one, run = "/api/threads", "/api/threads/{thread_id}", "/api/runs/{run_id}"
    router.add_api_route(many, routes.create, methods=["POST"], status_code=201)
    router.add_api_route(many, routes.listed, methods=["GET"])
    router.add_api_route(one, routes.detail, methods=["GET"])
    router.add_api_route(one, routes.rename, methods=["PATCH"])
    router.add_api_route(one, routes.delete, methods=["DELETE"], status_code=204)
    router.add_api_route(
        f"{one}/retry", routes.retry, methods=["POST"], status_code=202, responses=also(409, 429)
    )
    router.add_api_route(f"{run}/cancel", routes.cancel, methods=["POST"], status_code=202)


def _out(thread: Thread) -> ThreadOut:
    data = asdict(thread)
    del data["user_id"]
    return ThreadOut(**data)


def _accepted(accepted: Accepted) -> AcceptedOut:
    return AcceptedOut(message_id=accepted.message_id, run_id=accepted.run_id)
