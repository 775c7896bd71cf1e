"""Settings, profile and model calls of the fake API."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from core.settings.groups import GROUPS
from core.settings.schema import forms
from tests.browser.fake_state import Json, World

DEFAULTS: dict[str, Json] = {
    "model": {"base_url": "", "name": "", "api_key": {"set": False, "last4": ""}},
    "cloud": {
        "enabled": False,
        "base_url": "https://api.openai.com/v1",
        "model": "gpt-4o-mini",
        "daily_tokens": 200_000,
        "api_key": {"set": True, "last4": "9876"},
    },
    "orchestrator": {"autonomous_mode": True, "max_iterations": 5, "quality_threshold": 0.8},
}
SERVERS: list[Json] = [
    {
        "kind": "lmstudio",
        "base_url": "http://127.0.0.1:1234/v1",
        "models": [
            {"id": "qwen3-8b", "kind": "chat", "loaded": True},
            {"id": "nomic-embed-text", "kind": "embedding"},
        ],
    },
    {
        "kind": "ollama",
        "base_url": "http://127.0.0.1:11434/v1",
        "models": [{"id": "llama3.2:3b", "kind": "chat"}, {"id": "gemma3:12b", "kind": "chat"}],
    },
]
REPORT: Json = {
    "model": "qwen3-8b",
    "refused": None,
    "steps": [
        {"name": "reach", "ok": True, "detail": "LM Studio, 12 ms"},
        {"name": "models", "ok": True, "detail": "2 models, qwen3-8b is there"},
        {"name": "chat", "ok": True, "detail": "first token after 0.4 s"},
        {"name": "tools", "ok": False, "detail": "the chat template knows no tools"},
        {"name": "reasoning", "ok": None, "detail": "not seen"},
    ],
}


def defaults() -> dict[str, Json]:
    """The values of all groups of the page: those of a new installation, but for what ``DEFAULTS``
    says."""
    found: dict[str, Json] = {}
    for group, fields in forms().items():
        values = GROUPS[group]().model_dump(mode="json", include={field.name for field in fields})
        secret = {field.name for field in fields if field.kind == "secret"}
        found[group] = values | {name: {"set": False, "last4": ""} for name in secret}
    return found | DEFAULTS


def add_settings(app: FastAPI, world: World) -> None:
    """Add the routes."""
    world.settings = {group: dict(values) for group, values in defaults().items()}
    world.servers = world.servers or list(SERVERS)

    @app.get("/api/settings/{group}")
    async def read(group: str) -> Json:
        values = world.settings[group]
        return {"values": values, "sources": dict.fromkeys(values, "default")}

    @app.put("/api/settings/{group}")
    async def write(group: str, request: Request) -> Response:
        changes: Json = orjson.loads(await request.body())
        world.calls.append(("PUT", request.url.path, changes))
        if "://" not in changes.get("base_url", "http://"):
            return _invalid(f"{group}.base_url: this is not a URL; write it like http://host/v1")
        if "api_key" in changes:
            changes["api_key"] = {"set": bool(changes["api_key"]), "last4": changes["api_key"][-4:]}
        world.settings[group] |= changes
        return JSONResponse({"values": world.settings[group], "sources": {}})

    @app.get("/api/models")
    async def models() -> Json:
        return {"servers": world.servers, "configured": {}}

    @app.post("/api/model/test")
    async def test(request: Request) -> Json:
        world.calls.append(("POST", request.url.path, orjson.loads(await request.body())))
        return world.report or REPORT

    @app.get("/api/profile")
    async def profile() -> dict[str, str]:
        return world.profile

    @app.put("/api/profile")
    async def save_profile(request: Request) -> Any:
        changes: dict[str, str] = orjson.loads(await request.body())
        world.calls.append(("PUT", "/api/profile", changes))
        world.profile |= changes
        return world.profile


def _invalid(detail: str) -> Response:
    body = {"status": 422, "code": "invalid", "detail": detail}
    return JSONResponse(body, 422, media_type="application/problem+json")
