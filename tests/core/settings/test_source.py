"""Where settings come from, and what is said of those that cannot be used."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.errors import ConfigError
from core.settings.groups import GROUPS
from core.settings.source import (
    ALIASES,
    Layer,
    Loaded,
    default_config,
    environment_names,
    load,
    misspelt,
)


def loaded(
    home: Path, config: str = "", dotenv: str = "", saved: Layer | None = None, **env: str
) -> Loaded:
    """Settings from a config file, a .env file, an environment and saved values."""
    home.mkdir(exist_ok=True)
    (home / "config.yaml").write_text(config, encoding="utf-8")
    (home / ".env").write_text(dotenv, encoding="utf-8")
    env = {"ASSISTANT_HOME": str(home), "ASSISTANT_CONFIG": str(home / "config.yaml"), **env}
    result = load(env)
    return result if saved is None else result.overlaid(saved)


def test_yaml_then_dotenv_then_environment_then_saved(tmp_path: Path) -> None:
    config, dotenv = "model:\n  name: yaml\n", "MODEL_NAME=dotenv\n"
    saved: Layer = {"model": {"name": "saved"}}
    steps = [
        loaded(tmp_path),
        loaded(tmp_path, config),
        loaded(tmp_path, config, dotenv),
        loaded(tmp_path, config, dotenv, MODEL_NAME="environment"),
        loaded(tmp_path, config, dotenv, saved, MODEL_NAME="environment"),
    ]
    found = [(step.settings.model.name, step.sources["model.name"]) for step in steps]
    assert found == [
        ("", "default"),
        ("yaml", "config"),
        ("dotenv", "environment"),
        ("environment", "environment"),
        ("saved", "saved"),
    ]


def test_saved_values_replace_saved_values(tmp_path: Path) -> None:
    first = loaded(tmp_path, saved={"model": {"name": "one", "max_tokens": 100}})
    second = first.overlaid({"model": {"name": "two"}})
    assert (second.settings.model.name, second.settings.model.max_tokens) == ("two", None)


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_names_of_the_outer_contract(tmp_path: Path, name: str) -> None:
    values = {
        "REDIS_URL": "redis://host:6379/0",
        "OPENAI_BASE_URL": "http://host/v1",
        "CLOUD_FALLBACK_ENABLED": "true",
        "ASSISTANT_PORT": "1234",
    }
    text = values.get(name, "some-value")
    group, field = ALIASES[name]
    value = getattr(getattr(loaded(tmp_path, "", "", None, **{name: text}).settings, group), field)
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    assert plain == {"true": True, "1234": 1234}.get(text, text)


def test_every_setting_has_a_variable() -> None:
    names = environment_names()
    for group, model in GROUPS.items():
        for field in model.model_fields:
            assert names[f"{group}_{field}".upper()] == (group, field)


def test_lists_and_numbers_from_the_environment(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        SECURITY_ALLOWED_HOSTS=" one.lan, two.lan:80 ,",
        ORCHESTRATOR_QUALITY_THRESHOLD="0.5",
        MEMORY_SHORT_TERM_WINDOW="30",
        MODEL_SEARCH_HOSTS="127.0.0.1, NAS.local,::1,host.docker.internal",
        ORCHESTRATOR_AUTONOMOUS_MODE="yes",
    ).settings
    assert settings.security.allowed_hosts == ("one.lan", "two.lan:80")
    hosts = ("127.0.0.1", "nas.local", "::1", "host.docker.internal")
    assert settings.model.search_hosts == hosts
    assert settings.orchestrator.quality_threshold == 0.5
    assert settings.memory.short_term_window == 30
    assert settings.orchestrator.autonomous_mode


def test_an_empty_variable_sets_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, "model:\n  name: yaml\n", MODEL_NAME="").settings.model.name == "yaml"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("modle:\n  name: x\n", "unknown group 'modle'; did you mean 'model'"),
        ("model:\n  nmae: x\n", "unknown setting model.nmae; did you mean 'name'"),
        ("model:\n  zzzzzz: x\n", "valid names: api_key"),
        ("model: 3\n", "model must hold settings"),
        ("- a\n- b\n", "must hold groups"),
        ("model: [\n", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("memory:\n  short_term_window: 1\n", r"memory.short_term_window \(from config\)"),
        ("server:\n  port: many\n", r"server.port \(from config\)"),
        ("store:\n  redis_url: host:6379\n", "is no Redis URL; write redis://"),
        ("model:\n  base_url: localhost:1234\n", "write it like http://127.0.0.1:1234/v1"),
        ("model:\n  base_url: http://user:pw@host/v1\n", "put the key into api_key"),
        ("model:\n  base_url: http://host:99999/v1\n", "is not a URL"),
    ],
)
def test_what_is_wrong_in_a_config_file(tmp_path: Path, config: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, config)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ASSISTANT_PROT", "1", "unknown environment variable ASSISTANT_PROT; did you mean"),
        ("ASSISTANT_PORT", "many", r"server.port \(from environment\)"),
        ("ASSISTANT_PORT", "70000", "server.port"),
        ("MODEL_TEMPERATURE", "3", r"model.temperature \(from environment\)"),
        ("MODEL_SEARCH_HOSTS", "http://nas", "model.search_hosts .* is no host name"),
        ("MODEL_SEARCH_HOSTS", "nas:80", "is no host name"),
        ("MODEL_SEARCH_HOSTS", "nas/v1", "is no host name"),
        ("MODEL_SEARCH_HOSTS", "me@nas", "is no host name"),
        ("MODEL_SEARCH_HOSTS", "10.0.0.0/8", "is no host name"),
        ("MODEL_SEARCH_HOSTS", "10.0.0.256", "is no host name"),
        ("MODEL_SEARCH_HOSTS", "nas..local", "is no host name"),
        ("MODEL_SEARCH_HOSTS", "-nas", "is no host name"),
        ("STORE_FSYNC", "never", r"store.fsync \(from environment\)"),
        ("ASSISTANT_CONFIG", "/nowhere.yaml", "does not exist"),
    ],
)
def test_what_is_wrong_in_the_environment(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, "", "", None, **{name: value})


def test_errors_do_not_show_secrets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"model:\n  api_key: [{'s3cret' * 3}]\n")
    assert "s3cret" not in str(caught.value)


def test_the_usual_upper_case_log_level(tmp_path: Path) -> None:
    """LOG_LEVEL=INFO is what half of all systems set; it stopped the start."""
    assert loaded(tmp_path, LOG_LEVEL="WARNING").settings.log.level == "warning"


def test_the_openai_key_serves_the_cloud_too(tmp_path: Path) -> None:
    cloud = loaded(tmp_path, OPENAI_API_KEY="sk-1", CLOUD_FALLBACK_ENABLED="true").settings.cloud
    assert cloud.api_key.get_secret_value() == "sk-1"


def test_a_key_of_its_own_wins_for_the_cloud(tmp_path: Path) -> None:
    env = {"OPENAI_API_KEY": "sk-1", "CLOUD_API_KEY": "sk-2", "CLOUD_FALLBACK_ENABLED": "true"}
    assert loaded(tmp_path, "", "", None, **env).settings.cloud.api_key.get_secret_value() == "sk-2"


def test_a_saved_key_of_the_local_server_never_goes_to_the_cloud(tmp_path: Path) -> None:
    """The key that somebody saved for a server at home was sent to the cloud's address."""
    saved: Layer = {"model": {"api_key": "home-key"}, "cloud": {"enabled": True}}
    assert loaded(tmp_path, saved=saved).settings.cloud.api_key.get_secret_value() == ""
    both = loaded(tmp_path, saved=saved, OPENAI_API_KEY="sk-1").settings
    assert both.cloud.api_key.get_secret_value() == "sk-1"
    assert both.model.api_key.get_secret_value() == "home-key"


def test_no_cloud_no_key(tmp_path: Path) -> None:
    settings = loaded(tmp_path, OPENAI_API_KEY="sk-1").settings
    assert settings.cloud.api_key.get_secret_value() == ""


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("169.254.169.254", True),
        ("0xa9fea9fe", True),
        ("2852039166", True),
        ("[fe80::1]:80", True),
        ("[::ffff:169.254.1.1]", True),
        ("127.0.0.1:1234", False),
        ("10.0.0.1", False),
        ("[2001:db8::1]", False),
        ("169.example", False),
    ],
)
def test_a_model_server_has_no_link_local_address(tmp_path: Path, host: str, refused: bool) -> None:
    outcome = pytest.raises(ConfigError, match="link-local") if refused else nullcontext()
    with outcome:
        loaded(tmp_path, OPENAI_BASE_URL=f"http://{host}/v1")


def test_misspelt_names_get_a_hint() -> None:
    found = misspelt({"MODEL_NAMES": "x", "MODEL_NAME": "x", "MEMORY_PRESSURE_WATCH": "x", "A": ""})
    assert found == ["MODEL_NAMES is not a setting; did you mean MODEL_NAME?"]


def test_the_default_config_changes_nothing(tmp_path: Path) -> None:
    env = {"ASSISTANT_HOME": str(tmp_path)}
    found = load(env)
    assert default_config().exists()
    assert set(found.sources.values()) == {"default"}


def test_the_home_is_absolute(tmp_path: Path) -> None:
    assert load({"ASSISTANT_HOME": "some/folder"}).settings.home.is_absolute()
