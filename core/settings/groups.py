"""Settings: the groups, their defaults and limits. ``core.settings.source`` reads them.

Precedence, lowest first: the defaults here, ``config/default.yaml``, ``.env`` and the environment,
then what was saved in the dashboard (Redis). A value is immutable; a change makes a new
``Settings``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from core.settings.values import HostName, HttpUrl, Lower, Network, RedisUrl


@dataclass(frozen=True, slots=True)
class Mark:
    """Something about a field beside its type and limits; stands in ``Annotated[…]``."""

    name: str


OPERATOR = Mark("operator")
"""Only the config file and the environment may set it: a signed-in user must not choose which
machines of the network the server knocks at, or whom it believes."""

NOT_YET = Mark("not yet")
"""The feature that reads it is not built yet. The name is taken, and a value is kept but changes
nothing; the start says so."""


class Group(BaseModel):
    """Base of all groups. One class a group; its field in ``Settings`` is all that it needs
    besides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    live: ClassVar[bool] = False
    """Whether the dashboard saves these settings; they take effect without a restart."""


class ModelSettings(Group):
    """The local model: any server that speaks the OpenAI protocol."""

    live: ClassVar[bool] = True

    base_url: HttpUrl = Field(
        default="",
        description="Base URL with /v1. Empty: look for LM Studio, Ollama, llama.cpp and vLLM on their usual local ports.",
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), description="Sent as Bearer token; local servers rarely need one."
    )
    name: str = Field(
        default="",
        max_length=300,
        description="Model id. Empty: the first chat model that the server lists.",
    )
    search_hosts: Annotated[tuple[HostName, ...], OPERATOR] = Field(
        default=("127.0.0.1",),
        description="Hosts on whose usual ports a model server is looked for. Not to be changed in the dashboard.",
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Sampling temperature. Empty: the server's default."
    )
    max_tokens: int | None = Field(
        default=None, ge=16, description="Longest answer in tokens. Empty: the server's default."
    )
    context_window: int = Field(
        default=0, ge=0, description="Context size in tokens. 0: ask the server, else 8192."
    )
    tools: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether the model is offered tools. auto: as the test of the connection measured, and as the server takes them; off for small models that answer plain questions with calls.",
    )
    first_byte_timeout: float = Field(
        default=300, gt=0, le=3600, description="Seconds to wait for the first token of an answer."
    )
    idle_timeout: float = Field(
        default=90,
        gt=0,
        le=3600,
        description="Seconds of silence within an answer before it counts as stalled.",
    )
    loading_timeout: float = Field(
        default=300,
        ge=0,
        le=3600,
        description="Seconds to wait for a server that says it is loading its model or busy.",
    )


class CloudSettings(Group):
    """The cloud fallback; off unless switched on."""

    live: ClassVar[bool] = True

    enabled: bool = Field(
        default=False,
        description="Use the cloud when the local model fails before its first token.",
    )
    base_url: HttpUrl = Field(
        default="https://api.openai.com/v1", description="Base URL of the cloud API."
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), description="Key of the cloud API. Empty: OPENAI_API_KEY."
    )
    model: str = Field(default="gpt-4o-mini", max_length=300, description="Model id in the cloud.")
    daily_tokens: int = Field(
        default=200_000, ge=0, description="Most tokens a day that go to the cloud. 0: none at all."
    )


class OrchestratorSettings(Group):
    """How a turn runs."""

    live: ClassVar[bool] = True

    autonomous_mode: bool = Field(
        default=True,
        description="Call tools in several rounds where that helps, and grade answers that needed "
        "tools. Off: one round.",
    )
    max_iterations: int = Field(
        default=5,
        ge=1,
        le=50,
        description="Most rounds of tools, and most graded answers, in autonomous mode.",
    )
    quality_threshold: float = Field(
        default=0.8, ge=0, le=1, description="Grade from which an answer is good enough."
    )
    tool_timeout: float = Field(
        default=120, gt=0, le=3600, description="Seconds that one tool call may take."
    )
    turn_timeout: float = Field(
        default=1800, gt=0, description="Seconds that one turn may take altogether."
    )
    checkpoints_kept: int = Field(
        default=4, ge=1, le=1000, description="Checkpoints kept of each conversation."
    )


class MemorySettings(Group):
    """What the assistant keeps of a conversation and of its user."""

    live: ClassVar[bool] = True

    short_term_window: int = Field(
        default=20,
        ge=2,
        le=500,
        description="Messages that the model sees word for word; older ones are summarised.",
    )
    vector_persist_dir: Annotated[str, NOT_YET] = Field(
        default="", description="Folder of vector indexes. Empty: inside the data folder."
    )
    vector_short_max: Annotated[int, NOT_YET] = Field(
        default=100, ge=1, description="Most entries of short memory."
    )
    vector_medium_max: Annotated[int, NOT_YET] = Field(
        default=500, ge=1, description="Most entries of medium memory."
    )
    vector_model_name: Annotated[str, NOT_YET] = Field(
        default="all-MiniLM-L6-v2", description="Embedding model."
    )
    vector_model_path: Annotated[str, NOT_YET] = Field(
        default="", description="Folder with the embedding model. Empty: the bundled one."
    )


class TelegramSettings(Group):
    """The Telegram channel."""

    live: ClassVar[bool] = True

    bot_token: Annotated[SecretStr, NOT_YET] = Field(
        default=SecretStr(""), description="Token of the bot, from @BotFather."
    )


class SecuritySettings(Group):
    """Who may talk to the web server."""

    live: ClassVar[bool] = True

    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="More host names (host or host:port) under which the page is reached.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], OPERATOR] = Field(
        default=(),
        description="Addresses or networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed. Not to be changed in the dashboard.",
    )
    login_per_minute: int = Field(
        default=5, ge=1, le=1000, description="Sign-in attempts a minute from one address."
    )
    session_days: int = Field(
        default=30, ge=1, le=365, description="Days that a browser stays signed in."
    )
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Web origins that may call /v1 from a browser."
    )


class ServerSettings(Group):
    """Where the web server listens."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8080,
        ge=0,
        le=65535,
        description="Port to listen on; 0 takes a free one. Where it is not set, the next free one is taken when 8080 is in use.",
    )


class StoreSettings(Group):
    """Where all state lives."""

    redis_url: RedisUrl = Field(
        default="", description="Redis or Valkey. Empty: the embedded server in the data folder."
    )
    fsync: Literal["everysec", "always"] = Field(
        default="everysec", description="When the embedded server flushes to disk."
    )
    max_memory_mb: int = Field(
        default=0, ge=0, description="Memory limit of the embedded server; 0: none."
    )
    checkpointer: Literal["core", "redis-stack"] = Field(
        default="core",
        description="Checkpoints on core commands, or langgraph-checkpoint-redis (Redis 8).",
    )


class EngineSettings(Group):
    """How workers share the conversations."""

    concurrency: int = Field(
        default=64, ge=1, le=10_000, description="Turns that one worker runs at once."
    )
    per_user: int = Field(
        default=32,
        ge=1,
        le=10_000,
        description="Turns that one worker runs at once for one user; others do not wait behind them.",
    )
    max_inbox: int = Field(
        default=20, ge=1, le=10_000, description="Messages that may wait in one conversation."
    )
    max_attempts: int = Field(
        default=4,
        ge=1,
        le=100,
        description="Times a message may crash its worker before it is given up.",
    )
    lease_ms: int = Field(
        default=3000,
        ge=500,
        le=60_000,
        description="Milliseconds after which a silent worker loses its conversation.",
    )
    drain_seconds: float = Field(
        default=10,
        ge=0,
        le=600,
        description="Seconds that a stopping worker gives its turns before it hands them over.",
    )
    stuck_seconds: float = Field(
        default=10,
        ge=1,
        le=600,
        description="Seconds that one step may hold up all others of its worker before it is "
        "stopped.",
    )
    journal_length: int = Field(
        default=5000,
        ge=100,
        description="Events kept of each conversation for clients that reconnect.",
    )
    ephemeral_ttl: int = Field(
        default=3600,
        ge=60,
        description="Seconds that a conversation of a stateless client is kept.",
    )
    max_message_bytes: int = Field(
        default=256 * 1024, ge=1024, description="Longest message in bytes of UTF-8."
    )


class LogSettings(Group):
    """What is logged."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Lower] = Field(
        default="info", description="Least level that is logged."
    )
    json_lines: bool = Field(default=False, description="One JSON object a line instead of text.")


class Settings(Group):
    """All settings at one moment."""

    home: Path = Field(description="The data folder (ASSISTANT_HOME).")
    model: ModelSettings = ModelSettings()
    cloud: CloudSettings = CloudSettings()
    orchestrator: OrchestratorSettings = OrchestratorSettings()
    memory: MemorySettings = MemorySettings()
    telegram: TelegramSettings = TelegramSettings()
    security: SecuritySettings = SecuritySettings()
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    engine: EngineSettings = EngineSettings()
    log: LogSettings = LogSettings()


# ---- what follows from the classes

GROUPS: dict[str, type[Group]] = {
    name: info.annotation
    for name, info in Settings.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, Group)
}

LIVE_GROUPS = tuple(name for name, group in GROUPS.items() if group.live)
"""Groups that the dashboard saves and that take effect without a restart."""


def marked(mark: Mark) -> frozenset[tuple[str, str]]:
    """(group, field) of the settings with a mark."""
    return frozenset(
        (group, name)
        for group, model in GROUPS.items()
        for name, info in model.model_fields.items()
        if mark in info.metadata
    )


OPERATOR_ONLY = marked(OPERATOR)
UNUSED = marked(NOT_YET)

SECRETS = tuple(
    (group, name)
    for group, model in GROUPS.items()
    for name, info in model.model_fields.items()
    if info.annotation is SecretStr
)
"""(group, field) of the settings that are secret."""


def secrets_of(settings: Settings) -> list[str]:
    """The secret values that the settings hold; empty ones are left out."""
    values = [getattr(getattr(settings, group), name) for group, name in SECRETS]
    return [text for value in values if (text := value.get_secret_value())]
