"""The tools that the model may call, as a worker knows them."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, TypeAdapter

from api.routes.parts import Parts
from core.asks.names import TOOLS


class ToolInfo(BaseModel):
    """One tool."""

    name: str
    description: str
    effect: Literal["read", "write", "send", "execute"]
    withheld: str | None = None
    """Why the model is not offered it."""


class ToolList(BaseModel):
    """All tools; there is never a next page."""

    items: list[ToolInfo]
    next: None = None


ITEMS = TypeAdapter(list[ToolInfo])


def add_tools(router: APIRouter, parts: Parts) -> None:
    """GET /api/tools."""
    asks = parts.asks

    @router.get("/api/tools")
    async def tools() -> ToolList:
        """The tools that the model may call. 503 when no worker answers."""
        return ToolList(items=ITEMS.validate_python(await asks.ask(TOOLS)))
