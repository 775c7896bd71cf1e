"""All data of a user, for the user: `GET /api/export` and `assistant user export`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from api.middleware.principal import signed_in
from api.routes.parts import Parts
from core.accounts.api_keys import list_keys
from core.accounts.sessions import list_sessions
from core.backup.export import export_user
from core.events import Json
from core.store.client import Store

KEY_FIELDS = ("id", "name", "scope", "created_at", "used_at", "expires_at")
SESSION_FIELDS = ("created_at", "used_at", "agent", "address")


def exported(store: Store, user_id: str) -> AsyncIterator[bytes]:
    """Pieces of a JSON object. Raises NotFound before the first one, StoreError."""

    async def pieces() -> AsyncGenerator[bytes]:
        async for piece in export_user(store, user_id, await _credentials(store, user_id)):
            yield piece

    return pieces()


async def _credentials(store: Store, user_id: str) -> dict[str, Json]:
    """What is known about keys and browsers; nothing that could open a door."""
    keys = await store.retry(lambda: list_keys(store.redis, user_id))
    sessions = await store.retry(lambda: list_sessions(store.redis, user_id))
    return {
        "api_keys": [{name: key[name] for name in KEY_FIELDS} for key in keys],
        "sessions": [{name: session[name] for name in SESSION_FIELDS} for session in sessions],
    }


def add_export(router: APIRouter, parts: Parts) -> None:
    """GET /api/export."""
    store = parts.services.store

    async def export(request: Request) -> StreamingResponse:
        """Everything that is stored about you, as one JSON file."""
        user_id = signed_in(request).user_id
        pieces = exported(store, user_id)
        # Asked for here, so that what cannot be read is an answer of its own, not half a file.
        first = await anext(pieces)

        async def whole() -> AsyncGenerator[bytes]:
            yield first
            async for piece in pieces:
                yield piece

        name = f"assistant-{datetime.now(UTC):%Y-%m-%d}.json"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        }
        return StreamingResponse(whole(), media_type="application/json", headers=headers)

    router.add_api_route("/api/export", export, methods=["GET"], response_class=StreamingResponse)
