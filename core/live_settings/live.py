"""Settings that change while the process runs: what the dashboard saved, kept fresh from Redis."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

import orjson
from pydantic import SecretStr, ValidationError

from core.errors import AssistantError, ConfigError, Invalid, StoreError
from core.home.secrets import SecretBox
from core.logs import redact_too
from core.settings.groups import GROUPS, LIVE_GROUPS, OPERATOR_ONLY, Group, Settings
from core.settings.key_hosts import KEY, KEYED, Layer, Source, chosen_host
from core.settings.source import Loaded, check_names
from core.store import keys
from core.store.client import Store

log = logging.getLogger(__name__)

KEY_HOST = f"{KEY}.host"
"""Beside a saved key: for which host it was saved."""


class LiveSettings:
    """The settings of this process. ``current`` is cheap; ``refresh`` reads what was saved."""

    def __init__(self, loaded: Loaded, store: Store, box: SecretBox) -> None:
        self._loaded = loaded
        self._store = store
        self._box = box

    @property
    def current(self) -> Settings:
        """All settings as of the last refresh."""
        return self._loaded.settings

    def source(self, group: str, name: str) -> Source:
        """Where a value comes from."""
        return self._loaded.sources[f"{group}.{name}"]

    async def refresh(self) -> None:
        """Read the saved settings. Those that cannot be used are left out, with a warning."""
        saved: Layer = {}
        bound: dict[str, str] = {}
        for group in LIVE_GROUPS:
            if row := await self._row(group):
                saved[group] = self._opened(group, row)
                if (host := row.get(KEY_HOST.encode())) is not None:
                    bound[group] = host.decode(errors="replace")
        try:
            self._loaded = self._loaded.overlaid(saved, bound)
        except ConfigError:
            self._loaded = self._loaded.overlaid(self._usable(saved), bound)
        redact_too(self._loaded.secrets())

    async def _row(self, group: str) -> Mapping[bytes, bytes]:
        """What is stored of a group; nothing when something else lies in its place."""
        name = keys.settings(group)
        try:
            return await self._store.retry(lambda: self._store.redis.hgetall(name))
        except StoreError as error:
            if "WRONGTYPE" not in str(error.__cause__):
                raise
            log.warning("saved settings of %s are not used: %s", group, error)
            return {}

    def _usable(self, saved: Layer) -> Layer:
        """The groups that can be used: one bad value must not take all others with it."""
        good: Layer = {}
        for group, values in saved.items():
            try:
                self._loaded.overlaid({group: values})
            except ConfigError as error:
                log.warning("saved settings of %s are not used: %s", group, error)
            else:
                good[group] = values
        return good

    def _opened(self, group: str, row: Mapping[bytes, bytes]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, raw in row.items():
            name = key.decode(errors="replace")
            field = GROUPS[group].model_fields.get(name)
            if field is None or (group, name) in OPERATOR_ONLY:
                continue
            try:
                value = orjson.loads(raw)
                if field.annotation is SecretStr and value != "":
                    value = self._box.open(f"{group}.{name}", str(value))
                values[name] = value
            except (AssistantError, ValueError) as error:
                log.warning("saved setting %s.%s is not used: %s", group, name, error)
        return values

    def check(self, group: str, changes: Mapping[str, Any]) -> Group:
        """The group with the changes applied (None leaves a value as it is), without a key that
        was set for another host. Raises Invalid."""
        if group not in LIVE_GROUPS:
            raise Invalid(
                f"settings of {group!r} cannot be changed here; use {', '.join(LIVE_GROUPS)}"
            )
        try:
            check_names(group, cast("Mapping[object, object]", changes), where="request")
        except ConfigError as error:
            raise Invalid(str(error)) from error
        for name in changes:
            if (group, name) in OPERATOR_ONLY:
                variable = f"{group}_{name}".upper()
                raise Invalid(f"{group}.{name} cannot be changed here; set {variable} and restart")
        kept = {name: value for name, value in changes.items() if value is not None}
        try:
            checked = GROUPS[group](**{**_plain(self.current, group), **kept})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = first["loc"][0] if first["loc"] else "?"
            message = first["msg"].removeprefix("Value error, ")
            raise Invalid(f"{group}.{name}: {message}") from error
        if group not in KEYED:
            return checked
        saved = self._saved_with(group, kept, set())
        bound = dict(self._loaded.bound)
        if kept.get(KEY):
            bound[group] = self._host(group, saved)
        elif group not in bound:
            bound[group] = self._host(group, self._loaded.saved)
        return getattr(self._loaded.overlaid(saved, bound).settings, group)

    def _saved_with(self, group: str, kept: Mapping[str, Any], gone: set[str]) -> Layer:
        saved = self._loaded.saved
        values = {name: v for name, v in saved.get(group, {}).items() if name not in gone}
        return {**saved, group: {**values, **kept}}

    def _host(self, group: str, saved: Layer) -> str:
        """Where requests go with these saved values."""
        return chosen_host(group, self._loaded.with_saved(saved))

    async def save(self, group: str, changes: Mapping[str, Any]) -> None:
        """Check and save settings of one group; ``None`` goes back to config and environment.

        A saved key stays with the host that it was saved for: it is removed when the address
        changes without a new key. Raises Invalid, and then nothing is saved.
        """
        checked = self.check(group, changes)
        kept = {name: value for name, value in changes.items() if value is not None}
        gone = set(changes) - set(kept)
        rows = {name: self._sealed(group, name, getattr(checked, name)) for name in kept}
        former: dict[str, bytes] = {}
        if group in KEYED:
            host = self._host(group, self._saved_with(group, kept, gone))
            held = self._loaded.saved.get(group, {}).get(KEY)
            was = self._loaded.bound.get(group, self._host(group, self._loaded.saved))
            if kept.get(KEY):
                rows[KEY_HOST] = host.encode()
            elif KEY in changes:
                gone.add(KEY_HOST)
            elif host != was and held != "":  # also one that cannot be read now
                gone |= {KEY, KEY_HOST}
            elif held:
                former[KEY_HOST] = was.encode()  # a former version did not write it
        await self._write(group, rows, gone, former)
        await self.refresh()

    async def _write(
        self, group: str, rows: dict[str, bytes], gone: set[str], former: Mapping[str, bytes]
    ) -> None:
        name = keys.settings(group)

        async def send() -> None:
            async with self._store.redis.pipeline(transaction=True) as pipe:
                if rows:
                    pipe.hset(name, mapping=rows)
                if gone:
                    pipe.hdel(name, *gone)
                for field, value in former.items():
                    pipe.hsetnx(name, field, value)
                pipe.incr(keys.settings_version())
                pipe.publish(keys.settings_changed(), group)
                await pipe.execute()

        await self._store.retry(send)

    def _sealed(self, group: str, name: str, value: object) -> bytes:
        if isinstance(value, SecretStr):
            secret = value.get_secret_value()
            return orjson.dumps(self._box.seal(f"{group}.{name}", secret) if secret else "")
        return orjson.dumps(value)


def _plain(settings: Settings, group: str) -> dict[str, Any]:
    model = getattr(settings, group)
    return {name: getattr(model, name) for name in GROUPS[group].model_fields}
