"""The tools that the model may call, as a worker knows them."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, TypeAdapter

from core.asks.client import Asks
from core.asks.names import TOOLS


class ToolInfo(BaseModel):
    """One tool."""

    name: str
    description: str
    effect: Literal["read", "write"]


class ToolList(BaseModel):
    """All tools; there is never a next page."""

    items: list[ToolInfo]
    next: None = None


ITEMS = TypeAdapter(list[ToolInfo])


def tools_router(asks: Asks) -> APIRouter:
    """GET /api/tools."""
    router = APIRouter(prefix="/api", tags=["tools"])

    @router.get("/tools")
    async def tools() -> ToolList:
        """The tools that the model may call. 503 when no worker answers."""
        return ToolList(items=ITEMS.validate_python(await asks.ask(TOOLS)))

    return router
