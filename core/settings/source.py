"""Where settings come from: config/default.yaml < .env and environment < saved in Redis.

The only file that reads the environment. Each value remembers its source, so that `doctor` and the
settings page can say why it is what it is.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_origin

import yaml
from pydantic import SecretStr, ValidationError

from core.errors import ConfigError
from core.settings.env_files import (
    ENV_FILE_VARIABLE,
    HOME_VARIABLE,
    checkout,
    home_of,
    passed_over,
    with_env_files,
)
from core.settings.groups import GROUPS, SECRETS, UNUSED, Settings, secrets_of
from core.settings.key_hosts import (
    Layer,
    Layers,
    Source,
    chosen_host,
    operators_host,
    without_foreign_keys,
)

ALIASES: dict[str, tuple[str, str]] = {
    "REDIS_URL": ("store", "redis_url"),
    "OPENAI_BASE_URL": ("model", "base_url"),
    "OPENAI_API_KEY": ("model", "api_key"),
    "MODEL_NAME": ("model", "name"),
    "CLOUD_FALLBACK_ENABLED": ("cloud", "enabled"),
    "TELEGRAM_BOT_TOKEN": ("telegram", "bot_token"),
    "ASSISTANT_HOST": ("server", "host"),
    "ASSISTANT_PORT": ("server", "port"),
}
"""Names of the outer contract; every other setting is also read as GROUP_FIELD."""

OWN_PREFIX = "ASSISTANT_"
CONFIG_VARIABLE = "ASSISTANT_CONFIG"
LIFELINE_VARIABLE = "ASSISTANT_LIFELINE"
"""Set by `up` for its children: number of a pipe that ends with the supervisor."""

TRACE_TARGETS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

NOT_SETTINGS = (HOME_VARIABLE, ENV_FILE_VARIABLE, CONFIG_VARIABLE, LIFELINE_VARIABLE)


@dataclass(frozen=True)
class Loaded:
    """Settings with the source of every value (key: ``group.field``)."""

    settings: Settings
    sources: Mapping[str, Source]
    layers: Layers = field(repr=False)
    bound: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def overlaid(self, saved: Layer, bound: Mapping[str, str] | None = None) -> Loaded:
        """The same with another set of saved values on top. Raises ConfigError.

        ``bound``: for which host the saved key of a group was saved.
        """
        return build(self.settings.home, self.with_saved(saved), bound)

    def with_saved(self, saved: Layer) -> Layers:
        """The layers with another set of saved values on top."""
        operators = tuple(entry for entry in self.layers if entry[0] != "saved")
        return (*operators, ("saved", saved))

    @property
    def saved(self) -> Layer:
        """What was saved in the dashboard."""
        return dict(self.layers).get("saved", {})

    def secrets(self) -> list[str]:
        """Every secret value at hand, also those that are not for the host of now."""
        fields = [
            values.get(name)
            for _, layer in self.layers
            for group, name in SECRETS
            if (values := layer.get(group))
        ]
        return [*secrets_of(self.settings), *(str(value) for value in fields if value)]


def environment_names() -> dict[str, tuple[str, str]]:
    """Every environment variable that sets a setting → (group, field)."""
    names = {
        f"{group}_{name}".upper(): (group, name)
        for group, model in GROUPS.items()
        for name in model.model_fields
    }
    return names | ALIASES


def load(environ: Mapping[str, str] | None = None) -> Loaded:
    """Read yaml and environment. Raises ConfigError that names the bad setting and the nearest
    good one.

    A given ``environ`` is all there is, beside the `.env` of its data folder.
    """
    given = dict(os.environ if environ is None else environ)
    env = with_env_files(given, checkout() if environ is None else None)
    config = Path(env[CONFIG_VARIABLE]) if env.get(CONFIG_VARIABLE) else default_config()
    layers: Layers = (
        ("config", read_yaml(config)),
        ("environment", read_environment(env)),
    )
    return build(home_of(env), layers)


def default_config() -> Path:
    """config/default.yaml of the checkout or of the installed package."""
    return Path(__file__).resolve().parents[2] / "config" / "default.yaml"


def build(home: Path, layers: Layers, bound: Mapping[str, str] | None = None) -> Loaded:
    """Merge the layers, later ones win. A key that was set for another host than the one that
    requests go to is left out. Raises ConfigError."""
    merged: dict[str, dict[str, Any]] = {}
    sources: dict[str, Source] = {
        f"{group}.{name}": "default"
        for group, model in GROUPS.items()
        for name in model.model_fields
    }
    for source, layer in without_foreign_keys(layers, bound or {}):
        for group, values in layer.items():
            for name, value in values.items():
                merged.setdefault(group, {})[name] = value
                if source != "config" or value != _default(group, name):
                    sources[f"{group}.{name}"] = source
    try:
        groups = {group: GROUPS[group](**values) for group, values in merged.items()}
    except ValidationError as error:
        raise ConfigError(_explain(error, sources)) from error
    settings = Settings.model_validate({"home": home, **groups})
    return Loaded(_cloud_key(settings, layers), sources, layers, bound or {})


def _cloud_key(settings: Settings, layers: Layers) -> Settings:
    """OPENAI_API_KEY serves the cloud too, as in every OpenAI client, unless the cloud has its
    own or was told to have none. It goes only to the cloud that config file and environment name,
    and a key saved for the local server is none of the cloud's business."""
    values = dict(layers)
    key = values.get("environment", {}).get("model", {}).get("api_key")
    own = settings.cloud.api_key.get_secret_value() or "api_key" in values.get("saved", {}).get(
        "cloud", {}
    )
    if not key or own or not settings.cloud.enabled:
        return settings
    if chosen_host("cloud", layers) != operators_host("cloud", layers):
        return settings
    cloud = settings.cloud.model_copy(update={"api_key": SecretStr(str(key))})
    return settings.model_copy(update={"cloud": cloud})


def _default(group: str, name: str) -> object:
    value = GROUPS[group].model_fields[name].get_default()
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _explain(error: ValidationError, sources: Mapping[str, Source]) -> str:
    group = error.title.removesuffix("Settings").lower()
    lines: list[str] = []
    for item in error.errors(include_url=False, include_input=False):
        name = f"{group}.{item['loc'][0] if item['loc'] else '?'}"
        message = item["msg"].removeprefix("Value error, ")
        lines.append(f"{name} (from {sources.get(name, '?')}): {message}")
    return "; ".join(lines)


def nearest(name: str, valid: list[str]) -> str:
    """A hint "did you mean …" or the list of valid names."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"valid names: {', '.join(sorted(valid))}"


def read_yaml(path: Path) -> Layer:
    """Read a config file; unknown groups or settings raise ConfigError."""
    if not path.exists():
        if path == default_config():
            return {}
        raise ConfigError(
            f"the config file {path} does not exist; unset {CONFIG_VARIABLE} or create it"
        )
    try:
        data: object = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} must hold groups of settings, like `model:` with `name:` under it"
        )
    return _checked(cast("dict[object, object]", data), path)


def _checked(data: dict[object, object], path: Path) -> Layer:
    layer: Layer = {}
    for group, values in data.items():
        if not isinstance(group, str) or group not in GROUPS:
            hint = nearest(str(group), list(GROUPS))
            raise ConfigError(f"{path}: unknown group {str(group)!r}; {hint}")
        if values is None:
            continue
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {group} must hold settings, one a line")
        layer[group] = check_names(group, cast("dict[object, object]", values), where=str(path))
    return layer


def check_names(group: str, values: Mapping[object, object], *, where: str) -> dict[str, Any]:
    """The same mapping with all names known to the group, else ConfigError."""
    valid = list(GROUPS[group].model_fields)
    for name in values:
        if name not in valid:
            hint = nearest(str(name), valid)
            raise ConfigError(f"{where}: unknown setting {group}.{name}; {hint}")
    # A YAML list becomes a tuple, as in Settings, so that it can equal a default.
    return {
        str(name): tuple(cast("list[object]", value)) if isinstance(value, list) else value
        for name, value in values.items()
    }


def read_environment(env: Mapping[str, str]) -> Layer:
    """Settings among the variables. An unknown ASSISTANT_* name raises ConfigError: it is ours and
    a slip."""
    names = environment_names()
    own = [*NOT_SETTINGS, *(n for n in names if n.startswith(OWN_PREFIX))]
    layer: Layer = {}
    for variable, text in env.items():
        if variable in names:
            group, name = names[variable]
            if text != "":
                layer.setdefault(group, {})[name] = _parse(group, name, text)
        elif variable.startswith(OWN_PREFIX) and variable not in own:
            raise ConfigError(f"unknown environment variable {variable}; {nearest(variable, own)}")
    return layer


def misspelt(env: Mapping[str, str] | None = None) -> list[str]:
    """Variables that look like a slip of one of our names; `up` and `doctor` warn of them.

    A warning only: other programs own names like MEMORY_PRESSURE_WATCH.
    """
    names = environment_names()
    groups = tuple(f"{group.upper()}_" for group in GROUPS)
    found: list[str] = []
    for variable in os.environ if env is None else env:
        if variable in names or not variable.startswith(groups):
            continue
        close = difflib.get_close_matches(variable, list(names), n=1, cutoff=0.85)
        if close:
            found.append(f"{variable} is not a setting; did you mean {close[0]}?")
    return found


def unread(home: Path) -> list[str]:
    """A `.env` in the current folder that is not read; `up` and `doctor` say so."""
    found = passed_over({**os.environ, HOME_VARIABLE: str(home)}, Path.cwd())
    if found is None:
        return []
    return [
        f"{found} is not read, because any folder could have one; move it to {home}, "
        f"or name it in {ENV_FILE_VARIABLE}"
    ]


def unused(loaded: Loaded) -> list[str]:
    """Settings that are set although nothing reads them yet; `up` and `doctor` say so."""
    return [
        f"{group}.{name} is set, but this version does not use it yet"
        for group, name in sorted(UNUSED)
        if loaded.sources[f"{group}.{name}"] != "default"
    ]


def _parse(group: str, name: str, text: str) -> object:
    if get_origin(GROUPS[group].model_fields[name].annotation) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def child_environment(lifeline_fd: int, **changes: str) -> dict[str, str]:
    """The environment for a process that the supervisor starts."""
    return {**os.environ, **changes, LIFELINE_VARIABLE: str(lifeline_fd)}


def lifeline() -> int | None:
    """The pipe of ``child_environment``, in a process that was started so."""
    text = os.environ.get(LIFELINE_VARIABLE, "")
    return int(text) if text.isdigit() else None


def set_strict_msgpack() -> None:
    """Limit the types that a stored checkpoint may name; LangGraph reads this when a graph is
    compiled."""
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"


def traces_wanted() -> bool:
    """Whether OpenTelemetry's own variables say where to send traces; its exporter reads the
    rest."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return not off and not none and any(os.environ.get(name) for name in TRACE_TARGETS)
