"""Which server and model a call goes to, and what is known of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redis.exceptions import RedisError

from core.models.errors import ModelError
from core.models.servers.capabilities import DEFAULT, Capabilities, load, save
from core.models.servers.catalog import ModelInfo, ServerKind, choose, list_models, normal_base
from core.models.servers.discovery import Server
from core.models.wire.transport import Transport
from core.settings.groups import ModelSettings
from core.store.redis import RedisClient

FOUND_SECONDS = 60
"""How long a discovered server or a default model is remembered."""
KNOWN_SECONDS = 30
"""How long capabilities stay in memory; another process may have probed meanwhile."""
TOLD_SECONDS = 600

NOTHING_FOUND = (
    "No model server was found on this machine. Start LM Studio, Ollama, llama.cpp or vLLM, or set "
    "model.base_url to the address of one."
)
NO_CHAT_MODEL = (
    "The model server has no chat model. Download and load one in LM Studio, or run for example "
    "`ollama pull qwen3`, or set model.name."
)
NEEDS_KEY = (
    "The model server at {base_url} wants a key. Set model.base_url to this address and "
    "model.api_key to its key."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes. ``found`` is true when the user configured only a part of it."""

    base_url: str
    model: str
    api_key: str
    found: bool = False
    kind: ServerKind = "openai"


class Servers:
    """Resolves settings to a target, and keeps what is known of each target."""

    def __init__(
        self,
        redis: RedisClient,
        transport: Transport,
        discover: Callable[[], Awaitable[tuple[Server, ...]]],
    ) -> None:
        self._redis = redis
        self._transport = transport
        self._discover = discover
        self._finding = asyncio.Lock()
        self._learning = asyncio.Lock()
        self._found: dict[tuple[str, str, str], tuple[float, Target]] = {}
        self._known: dict[tuple[str, str], tuple[float, Capabilities]] = {}
        self._told: dict[tuple[str, str, str], float] = {}

    async def resolve(self, model: ModelSettings) -> Target:
        """The target of a call. Raises ModelError(unreachable | no_model | …) when there is
        none."""
        base_url, api_key = normal_base(model.base_url), model.api_key.get_secret_value()
        if base_url and model.name:
            return Target(base_url, model.name, api_key)
        key = _asked_for(model)
        cached = self._found.get(key)
        if cached is None or cached[0] < time.monotonic():
            async with self._finding:
                cached = self._found.get(key)
                if cached is None or cached[0] < time.monotonic():
                    target = await self._find(base_url, model.name, api_key)
                    cached = (time.monotonic() + FOUND_SECONDS, target)
                    self._found[key] = cached
        return cached[1]

    def forget(self, model: ModelSettings) -> None:
        """The target did not work: look again next time."""
        self._found.pop(_asked_for(model), None)

    async def _find(self, base_url: str, name: str, api_key: str) -> Target:
        if base_url:
            models = await list_models(self._transport, base_url, api_key=api_key)
            return Target(base_url, _default_id(models), api_key, found=True)
        servers = await self._discover()
        if not servers:
            raise ModelError("unreachable", NOTHING_FOUND)
        # The configured key is for the configured server: a stranger that listens on a usual port
        # does not get it.
        for server in servers:
            chosen = choose(server.models)
            if name and any(info.id == name for info in server.models):
                return Target(server.base_url, name, "", found=True, kind=server.kind)
            if not name and chosen is not None:
                return Target(server.base_url, chosen.id, "", found=True, kind=server.kind)
        for server in servers:
            if name and not server.needs_key:
                return Target(server.base_url, name, "", found=True, kind=server.kind)
        if any(server.loading for server in servers):
            raise ModelError("loading")
        if all(server.needs_key for server in servers):
            raise ModelError("auth", NEEDS_KEY.format(base_url=servers[0].base_url))
        raise ModelError("no_model", NO_CHAT_MODEL)

    async def known(self, target: Target) -> Capabilities:
        """What is known of the target; without Redis what was known last, else nothing."""
        key = (target.base_url, target.model)
        cached = self._known.get(key)
        if cached is not None and cached[0] > time.monotonic():
            return cached[1]
        try:
            known = await load(self._redis, *key)
        except RedisError as error:
            log.warning("capabilities of %s could not be read: %s", target.model, error)
            return cached[1] if cached else DEFAULT
        self._known[key] = (time.monotonic() + KNOWN_SECONDS, known)
        return known

    async def learn(self, target: Target, known: Capabilities) -> None:
        """Remember, here and in Redis."""
        async with self._learning:
            await self._learn(target, known)

    async def _learn(self, target: Target, known: Capabilities) -> None:
        key = (target.base_url, target.model)
        self._known[key] = (time.monotonic() + KNOWN_SECONDS, known)
        try:
            await save(self._redis, *key, known)
        except RedisError as error:
            log.warning("capabilities of %s could not be kept: %s", target.model, error)

    async def change(self, target: Target, update: Callable[[Capabilities], Capabilities]) -> None:
        """Remember a part. The rest is taken as it is in Redis now: another process may have tested
        the connection meanwhile."""
        key = (target.base_url, target.model)
        # One at a time: what a test of the connection has just found must not be overwritten with
        # what was read before it.
        async with self._learning:
            if key in self._known:
                self._known[key] = (0.0, self._known[key][1])
            known = await self.known(target)
            if (changed := update(known)) != known:
                await self._learn(target, changed)

    def first_in_a_while(self, target: Target, what: str) -> bool:
        """Whether the user has not been told this of the target in the last ten minutes."""
        key = (target.base_url, target.model, what)
        told = self._told.get(key)
        if told is not None and time.monotonic() - told < TOLD_SECONDS:
            return False
        self._told[key] = time.monotonic()
        return True


def _asked_for(model: ModelSettings) -> tuple[str, str, str]:
    """What decides where a call goes. With the key, so that a changed one holds at once; a server
    that is only found is not sent it."""
    base_url = normal_base(model.base_url)
    return base_url, model.name, model.api_key.get_secret_value() if base_url else ""


def _default_id(models: tuple[ModelInfo, ...]) -> str:
    chosen = choose(models)
    if chosen is None:
        raise ModelError("no_model", NO_CHAT_MODEL)
    return chosen.id
