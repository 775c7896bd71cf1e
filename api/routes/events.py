"""The event streams of a conversation and of a user."""

from __future__ import annotations

from fastapi import APIRouter, Query, Request
from sse_starlette import EventSourceResponse

from api.middleware.principal import signed_in
from api.routes.parts import Parts
from api.stream import respond
from core.conversations.journal import check_id


def add_events(router: APIRouter, parts: Parts) -> None:
    """GET /api/threads/{id}/events and GET /api/events."""
    streams = parts.streams

    @router.get("/api/threads/{thread_id}/events")
    async def thread_events(
        request: Request, thread_id: str, since: str = Query("0-0"), until: str = Query("")
    ) -> EventSourceResponse:
        """Events of a conversation: those after `since` or `Last-Event-ID`, then new ones.

        With `until=idle` the stream ends once nothing runs or waits.
        """
        user = signed_in(request)
        await streams.services.threads.get(user.user_id, thread_id)
        after = check_id(request.headers.get("last-event-id") or since)
        return respond(streams.of_thread(user, thread_id, after, until_idle=until == "idle"))

    @router.get("/api/events")
    async def user_events(request: Request, since: str = Query("")) -> EventSourceResponse:
        """New events of all conversations; after `since` or `Last-Event-ID`, what was missed
        first."""
        user = signed_in(request)
        given = request.headers.get("last-event-id") or since
        return respond(streams.of_user(user, check_id(given) if given else None))
