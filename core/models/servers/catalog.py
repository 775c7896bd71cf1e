"""The model list of a server, in all the shapes that servers give it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import orjson

from core.models.errors import ModelError, classify
from core.models.wire.transport import Transport

ModelKind = Literal["chat", "embedding", "other"]
ServerKind = Literal["lmstudio", "ollama", "llamacpp", "vllm", "openai"]

EMBEDDING = re.compile(r"embed|rerank|\bbge-|\be5-|\bgte-|minilm|colbert", re.IGNORECASE)
OTHER = re.compile(
    r"whisper|\btts\b|tts-|dall-e|stable-diffusion|moderation|\bsdxl|flux\.", re.IGNORECASE
)
OWNERS: dict[str, ServerKind] = {
    "organization_owner": "lmstudio",
    "library": "ollama",
    "llamacpp": "llamacpp",
    "vllm": "vllm",
}
ENDPOINT = "/chat/completions"
MOST_MODELS = 1000
LONGEST_ID = 300
LIST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model of a server. ``loaded`` and ``context`` are None where the server does not say."""

    id: str
    kind: ModelKind = "chat"
    context: int | None = None
    loaded: bool | None = None
    owner: str = ""


def normal_base(url: str) -> str:
    """The base URL that requests are built on: a bare host gets /v1, a full endpoint loses its
    tail."""
    url = url.rstrip("/").removesuffix(ENDPOINT)
    return f"{url}/v1" if url and not urlsplit(url).path.strip("/") else url


def root_of(base_url: str) -> str:
    """The server's root, where its own API lives."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}"


async def list_models(
    transport: Transport, base_url: str, *, api_key: str = "", seconds: float = 5
) -> tuple[ModelInfo, ...]:
    """The models of a server. Raises ModelError."""
    data = await transport.request_json(
        "GET", f"{base_url}/models", api_key=api_key, seconds=seconds, limit=LIST_BYTES
    )
    return parse_models(data)


def parse_models(data: Any) -> tuple[ModelInfo, ...]:
    """Read a model list. Raises ModelError where the answer is an error object or no list at
    all."""
    items: Any = data
    if isinstance(data, dict):
        fields = cast("dict[str, Any]", data)
        if fields.get("error"):
            raise classify(200, orjson.dumps(fields).decode())
        if "data" not in fields and "models" not in fields:
            raise ModelError("garbage", "The server's model list has an unknown form.")
        # llama.cpp sends both; "data" has more to say.
        items = fields.get("data") or fields.get("models") or []
    if not isinstance(items, list):
        raise ModelError("garbage", "The server's model list has an unknown form.")
    found = [_model(item) for item in cast("list[Any]", items)[:MOST_MODELS]]
    return tuple(info for info in found if info is not None)


def choose(models: Sequence[ModelInfo]) -> ModelInfo | None:
    """The default model: the first loaded chat model, else the first chat model."""
    chat = [info for info in models if info.kind == "chat"]
    return next((info for info in chat if info.loaded), chat[0] if chat else None)


def server_kind(models: Sequence[ModelInfo]) -> ServerKind:
    """What the list says about the server's make."""
    for info in models:
        if info.owner in OWNERS:
            return OWNERS[info.owner]
    return "openai"


def kind_of(model_id: str, declared: str = "") -> ModelKind:
    """Whether a model chats. LM Studio declares it; elsewhere the name has to tell."""
    if declared in ("llm", "vlm"):
        return "chat"
    if declared.startswith("embedding") or EMBEDDING.search(model_id):
        return "embedding"
    return "other" if OTHER.search(model_id) else "chat"


def _model(item: Any) -> ModelInfo | None:
    if isinstance(item, str):
        return ModelInfo(item, kind_of(item)) if 0 < len(item) <= LONGEST_ID else None
    if not isinstance(item, dict):
        return None
    fields = cast("dict[str, Any]", item)
    model_id = fields.get("id") or fields.get("model") or fields.get("name") or fields.get("key")
    if not isinstance(model_id, str) or len(model_id) > LONGEST_ID:
        return None
    return ModelInfo(
        model_id,
        kind_of(model_id, _word(fields.get("type"))),
        _context(fields),
        _loaded(fields),
        _word(fields.get("owned_by")),
    )


def _word(value: Any) -> str:
    return value[:LONGEST_ID] if isinstance(value, str) else ""


def _context(fields: dict[str, Any]) -> int | None:
    """The context that is really served. llama.cpp's n_ctx_train is what the model could do: not
    it."""
    for name in ("max_model_len", "loaded_context_length"):
        value = fields.get(name)
        if isinstance(value, int) and 0 < value < 2**31:
            return value
    return None


def _loaded(fields: dict[str, Any]) -> bool | None:
    state: Any = fields.get("state")
    status: Any = fields.get("status")
    if isinstance(status, dict):
        state = cast("dict[str, Any]", status).get("value")
    if isinstance(state, str):
        return state == "loaded"
    return None
