"""Settings, profile and models: what the settings page reads and saves, live."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from fastapi import APIRouter, Request
from pydantic import RootModel, SecretStr

from api.middleware.principal import signed_in
from api.routes.parts import Parts
from core.errors import NotFound
from core.services import Services
from core.settings.groups import GROUPS, LIVE_GROUPS, ModelSettings


class Changes(RootModel[dict[str, Any]]):
    """Settings to change; null goes back to config file and environment."""


class ProfileChanges(RootModel[dict[str, str | None]]):
    """Entries to set; null or "" removes one."""


class SettingsRoutes:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def read(self, group: str) -> dict[str, Any]:
        """A group's values and where each comes from. Secrets show their last four characters
        only."""
        _check_group(group)
        live = self._services.settings
        values = getattr(live.current, group)
        names = list(GROUPS[group].model_fields)
        return {
            "values": {name: _shown(getattr(values, name)) for name in names},
            "sources": {name: live.source(group, name) for name in names},
        }

    async def save(self, request: Request, group: str, body: Changes) -> dict[str, Any]:
        """Save some settings of a group; they take effect at once."""
        _check_group(group)
        await self._services.settings.save(group, body.root)
        return await self.read(group)

    async def test_model(self, request: Request, body: Changes) -> dict[str, Any]:
        """Try a model server without saving anything."""
        wanted_fields = ("base_url", "api_key", "name")
        changes = {k: v for k, v in body.root.items() if k in wanted_fields}
        wanted = cast("ModelSettings", self._services.settings.check("model", changes))
        report = await self._services.gateway.probe(wanted)
        return report.to_json()

    async def models(self) -> dict[str, Any]:
        """Model servers found on this machine, and what is configured."""
        found = await self._services.gateway.discover()
        model = self._services.settings.current.model
        return {
            "servers": [asdict(server) for server in found],
            "configured": {"base_url": model.base_url, "name": model.name},
        }

    async def profile(self, request: Request) -> dict[str, str]:
        """What is stored about the user."""
        return await self._services.profiles.get(signed_in(request).user_id)

    async def change_profile(self, request: Request, body: ProfileChanges) -> dict[str, str]:
        """Set or remove entries."""
        return await self._services.profiles.update(signed_in(request).user_id, body.root)

    async def clear_profile(self, request: Request) -> dict[str, str]:
        """Forget all of it."""
        await self._services.profiles.clear(signed_in(request).user_id)
        return {}


def add_profile(router: APIRouter, parts: Parts) -> None:
    """The profile."""
    routes = SettingsRoutes(parts.services)
    router.add_api_route("/api/profile", routes.profile, methods=["GET"])
    router.add_api_route("/api/profile", routes.change_profile, methods=["PUT"])
    router.add_api_route("/api/profile", routes.clear_profile, methods=["DELETE"])


def add_settings(router: APIRouter, parts: Parts) -> None:
    """Settings and models."""
    routes = SettingsRoutes(parts.services)
    router.add_api_route("/api/settings/{group}", routes.read, methods=["GET"])
    router.add_api_route("/api/settings/{group}", routes.save, methods=["PUT"])
    router.add_api_route("/api/model/test", routes.test_model, methods=["POST"])
    router.add_api_route("/api/models", routes.models, methods=["GET"])


def _check_group(group: str) -> None:
    if group not in LIVE_GROUPS:
        raise NotFound(f"there are no settings {group!r} here; use {', '.join(LIVE_GROUPS)}")


def _shown(value: object) -> object:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return {"set": bool(secret), "last4": secret[-4:] if len(secret) >= 12 else ""}
    return value
