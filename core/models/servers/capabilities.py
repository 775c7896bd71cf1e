"""What one model on one server can do, as measured or learnt; kept in Redis."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import orjson

from core.store import keys
from core.store.redis import RedisClient

KEEP_SECONDS = 30 * 24 * 3600
REFUSALS_LAST = timedelta(days=1)
"""A refusal met in passing is believed for a day: the user may switch tool calls on in the
server, or load the model with a larger context."""

Source = Literal["default", "learned", "probed"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """None means: not known. ``tool_choice``: the server accepts "required".

    ``context_window`` is what the server says of itself, ``context_limit`` what its refusals have
    shown to be less, since ``context_limit_at``.
    """

    streaming: bool | None = None
    tools: bool | None = None
    tool_choice: bool | None = None
    json_schema: bool | None = None
    system_role: bool | None = None
    alternate_roles: bool | None = None
    stream_usage: bool | None = None
    reasoning: bool | None = None
    close_only_think: bool | None = None
    refused_parameters: tuple[str, ...] = ()
    context_window: int | None = None
    context_limit: int | None = None
    context_limit_at: str = ""
    source: Source = "default"
    at: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


DEFAULT = Capabilities()
"""Nothing is known: only parameters that every server takes are sent."""


def key_of(base_url: str, model: str) -> str:
    """Redis key of one model on one server."""
    return keys.capabilities(hashlib.sha256(f"{base_url}\n{model}".encode()).hexdigest()[:32])


async def load(redis: RedisClient, base_url: str, model: str) -> Capabilities:
    """What is known of the model; ``DEFAULT`` when nothing is, or what is stored cannot be read."""
    raw = await redis.get(key_of(base_url, model))
    if raw is None:
        return DEFAULT
    return forget_old_refusals(decode(raw), datetime.now(UTC))


async def save(redis: RedisClient, base_url: str, model: str, known: Capabilities) -> None:
    """Keep it for 30 days."""
    await redis.set(key_of(base_url, model), orjson.dumps(known.to_json()), ex=KEEP_SECONDS)


def decode(raw: bytes | str) -> Capabilities:
    """Read stored JSON; unknown fields (of a newer version) are left out."""
    try:
        data: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return DEFAULT
    if not isinstance(data, dict):
        return DEFAULT
    known = {field.name for field in fields(Capabilities)}
    values = {k: v for k, v in cast("dict[str, Any]", data).items() if k in known}
    values["refused_parameters"] = tuple(values.get("refused_parameters") or ())
    return Capabilities(**values)


def learned(known: Capabilities, **changes: Any) -> Capabilities:
    """The same with what a request just taught us."""
    return replace(known, **changes, source="learned", at=datetime.now(UTC).isoformat())


def forget_old_refusals(known: Capabilities, now: datetime) -> Capabilities:
    """Refusals that were met in passing more than a day ago are tried again."""
    since = known.context_limit_at
    if since and now - datetime.fromisoformat(since) >= REFUSALS_LAST:
        known = replace(known, context_limit=None, context_limit_at="")
    if known.source != "learned" or not known.at:
        return known
    if now - datetime.fromisoformat(known.at) < REFUSALS_LAST:
        return known
    return replace(known, tools=known.tools or None, refused_parameters=())
