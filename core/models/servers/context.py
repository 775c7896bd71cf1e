"""The context size that a server really serves, asked from its own API. None: it does not say."""

from __future__ import annotations

import re
from typing import Any, cast

from core.models.errors import ModelError
from core.models.servers.catalog import ModelInfo, ServerKind, list_models, root_of
from core.models.wire.transport import Transport

SECONDS = 2.0
OLLAMA_PARAMETER = re.compile(r"^num_ctx\s+(\d{1,9})", re.MULTILINE)


async def served_context(
    transport: Transport,
    base_url: str,
    model: str,
    *,
    kind: ServerKind,
    models: tuple[ModelInfo, ...] = (),
    api_key: str = "",
) -> int | None:
    """Tokens of context. Asks each API that a server of this kind may have, the likeliest first."""
    listed = next((info.context for info in models if info.id == model and info.context), None)
    if listed:
        return listed
    asks = {
        "lmstudio": (_lmstudio, _lmstudio_old),
        "ollama": (_ollama_running, _ollama_shown),
        "llamacpp": (_llamacpp,),
        "vllm": (),  # its list of models says it
        "openai": (_llamacpp, _lmstudio, _lmstudio_old, _ollama_running, _ollama_shown),
    }
    for ask in asks[kind]:
        try:
            size = await ask(transport, root_of(base_url), model, api_key)
        except ModelError:
            continue
        if size:
            return size
    if models:
        return None
    try:
        listed_now = await list_models(transport, base_url, api_key=api_key, seconds=SECONDS)
    except ModelError:
        return None
    return next((info.context for info in listed_now if info.id == model and info.context), None)


async def _llamacpp(transport: Transport, root: str, model: str, api_key: str) -> int | None:
    data = _dict(
        await transport.request_json("GET", f"{root}/props", api_key=api_key, seconds=SECONDS)
    )
    return _int(_dict(data.get("default_generation_settings")).get("n_ctx")) or _int(
        data.get("n_ctx")
    )


async def _lmstudio(transport: Transport, root: str, model: str, api_key: str) -> int | None:
    data = await transport.request_json(
        "GET", f"{root}/api/v1/models", api_key=api_key, seconds=SECONDS
    )
    for item in _list(_dict(data).get("models")):
        entry = _dict(item)
        loaded = [_dict(instance) for instance in _list(entry.get("loaded_instances"))]
        names = {entry.get("key"), entry.get("id"), *(instance.get("id") for instance in loaded)}
        if model in names:
            sizes = [
                _int(_dict(instance.get("config")).get("context_length")) for instance in loaded
            ]
            return next((size for size in sizes if size), None)
    return None


async def _lmstudio_old(transport: Transport, root: str, model: str, api_key: str) -> int | None:
    data = await transport.request_json(
        "GET", f"{root}/api/v0/models", api_key=api_key, seconds=SECONDS
    )
    for item in _list(_dict(data).get("data")):
        entry = _dict(item)
        if entry.get("id") == model:
            return _int(entry.get("loaded_context_length"))
    return None


async def _ollama_running(transport: Transport, root: str, model: str, api_key: str) -> int | None:
    data = await transport.request_json("GET", f"{root}/api/ps", api_key=api_key, seconds=SECONDS)
    for item in _list(_dict(data).get("models")):
        entry = _dict(item)
        if model in (entry.get("name"), entry.get("model")):
            return _int(entry.get("context_length"))
    return None


async def _ollama_shown(transport: Transport, root: str, model: str, api_key: str) -> int | None:
    """Only an explicit num_ctx counts: what the model was trained for is not what Ollama serves."""
    data = await transport.request_json(
        "POST", f"{root}/api/show", api_key=api_key, body={"model": model}, seconds=SECONDS
    )
    match = OLLAMA_PARAMETER.search(str(_dict(data).get("parameters") or ""))
    return int(match.group(1)) if match else None


def _dict(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < 2**31 else None
