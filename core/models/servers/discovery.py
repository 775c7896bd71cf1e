"""Finds model servers by asking the ports that they use by default, on the hosts that the operator
named: this machine, unless set otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, cast

from core.errors import NO_CREDENTIAL
from core.models.errors import ModelError
from core.models.servers.catalog import ModelInfo, ServerKind, list_models, server_kind
from core.models.wire.transport import Transport

PORTS: tuple[tuple[int, ServerKind], ...] = (
    (1234, "lmstudio"),
    (11434, "ollama"),
    (8080, "llamacpp"),
    (8081, "llamacpp"),
    (8000, "vllm"),
)
HOSTS = ("127.0.0.1",)
SECONDS = 1.5
OWN_MODEL = "assistant"
"""The one model that our own OpenAI face lists; our default port is llama.cpp's."""


@dataclass(frozen=True, slots=True)
class Server:
    """A model server that answered."""

    kind: ServerKind
    base_url: str
    models: tuple[ModelInfo, ...]
    loading: bool = False
    needs_key: bool = False
    """It lists its models only for a key, which a server that was only found is not sent."""


async def discover(
    transport: Transport,
    ports: Sequence[tuple[int, ServerKind]] = PORTS,
    *,
    hosts: Sequence[str] = HOSTS,
    own_port: int | None = None,
    seconds: float = SECONDS,
) -> tuple[Server, ...]:
    """Servers that answer within ``seconds``, in the order of ``hosts`` and ``ports``. Never raises
    for a bad one. ``own_port`` is where we listen ourselves on this machine."""
    asks = [
        _ask(transport, f"http://{_bracketed(host)}:{port}", kind, seconds)
        for host in hosts
        for port, kind in ports
        if not (port == own_port and _is_here(host))
    ]
    answers = await asyncio.gather(*asks)
    return tuple(server for server in answers if server is not None)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _ask(
    transport: Transport, origin: str, usual: ServerKind, seconds: float
) -> Server | None:
    base_url = f"{origin}/v1"
    try:
        models = await list_models(transport, base_url, seconds=seconds * 0.6)
    except ModelError as error:
        # llama.cpp answers 503 while it loads.
        if error.kind == "loading":
            return Server(usual, base_url, (), loading=True)
        if error.kind == "auth" and NO_CREDENTIAL not in error.said:
            return Server(usual, base_url, (), needs_key=True)
        return None
    if [info.id for info in models] == [OWN_MODEL]:
        return None
    kind = server_kind(models)
    kind = usual if kind == "openai" and not models else kind
    if kind == "lmstudio":
        models = await _lmstudio_states(transport, origin, models, seconds * 0.35)
    return Server(kind, base_url, models)


async def _lmstudio_states(
    transport: Transport, origin: str, models: tuple[ModelInfo, ...], seconds: float
) -> tuple[ModelInfo, ...]:
    """LM Studio lists all downloaded models; its own API says which are loaded and which embed."""
    try:
        data = await transport.request_json("GET", f"{origin}/api/v0/models", seconds=seconds)
    except ModelError:
        return models
    items: Any = cast("dict[str, Any]", data).get("data") if isinstance(data, dict) else None
    states: dict[str, dict[str, Any]] = {}
    for item in cast("list[Any]", items) if isinstance(items, list) else []:
        if isinstance(item, dict):
            fields = cast("dict[str, Any]", item)
            if isinstance(name := fields.get("id"), str):
                states[name] = fields
    return tuple(_with_state(info, states.get(info.id)) for info in models)


def _with_state(info: ModelInfo, state: dict[str, Any] | None) -> ModelInfo:
    if state is None:
        return info
    context: Any = state.get("loaded_context_length")
    kind: Any = state.get("type")
    embeds = isinstance(kind, str) and kind.startswith("embedding")
    return replace(
        info,
        kind="embedding" if embeds else info.kind,
        loaded=state.get("state") == "loaded",
        context=context if isinstance(context, int) else info.context,
    )
