"""Which saved secrets the key file of a home cannot open: after a restore they are entered anew."""

from __future__ import annotations

from pathlib import Path

import orjson
from pydantic import SecretStr

from core.home.secrets import SecretBox, SecretUnreadable, existing_key
from core.settings.groups import GROUPS, LIVE_GROUPS
from core.store import keys
from core.store.client import Store


async def unreadable_secrets(store: Store, home: Path) -> list[str]:
    """``group.name`` of each. Makes no key file: the old one may still be put in its place."""
    key = existing_key(home)
    box = SecretBox(key) if key is not None else None
    found: list[str] = []
    for group in LIVE_GROUPS:
        fields = GROUPS[group].model_fields
        names = [name for name, field in fields.items() if field.annotation is SecretStr]
        for name in names:
            raw = await store.retry(
                lambda group=group, name=name: store.redis.hget(keys.settings(group), name)
            )
            if raw and not _opens(box, f"{group}.{name}", _text(raw)):
                found.append(f"{group}.{name}")
    return found


def _text(raw: bytes) -> str:
    try:
        return str(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")


def _opens(box: SecretBox | None, field: str, sealed: str) -> bool:
    if not sealed:
        return True
    if box is None:
        return False
    try:
        box.open(field, sealed)
    except SecretUnreadable:
        return False
    return True
