"""compose.yaml: what every container of ours must keep to, read from the file."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from core.settings.groups import ModelSettings
from core.settings.source import NOT_SETTINGS, environment_names
from core.store import keys
from tests.style import tree

COMPOSE: dict[str, Any] = yaml.safe_load(tree.text(tree.ROOT / "compose.yaml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = sorted(name for name in SERVICES if SERVICES[name]["restart"] != "no")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_runs_without_rights_and_within_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "1000:1000"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()


@pytest.mark.parametrize("name", LASTING)
def test_a_container_that_stays_has_a_healthcheck(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


def test_only_the_web_server_is_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in published["api"])


def test_redis_is_unreachable_from_outside_and_asks_for_a_password() -> None:
    assert SERVICES["redis"]["networks"] == ["state"]
    assert COMPOSE["networks"]["state"] == {"internal": True}
    command = " ".join(SERVICES["redis"]["entrypoint"])
    assert "user default on >%s ~* &* +@all -@admin" in command
    assert "nopass" not in command
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_a_worker_may_be_scaled() -> None:
    assert {"container_name", "ports", "hostname"} & SERVICES["worker"].keys() == set()


def test_the_workers_healthcheck_looks_at_the_keys_that_workers_write() -> None:
    check = "".join(SERVICES["worker"]["healthcheck"]["test"])
    assert f'"{keys.workers()}"' in check
    assert f'"{keys.worker("")}"' in check


def test_variables_given_to_containers_are_ours() -> None:
    given = set(SERVICES["api"]["environment"]) - set(NOT_SETTINGS)
    assert given <= environment_names().keys()


@pytest.mark.parametrize("name", ["api", "worker"])
def test_model_servers_are_looked_for_on_the_machine_around_the_containers(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert "host.docker.internal:host-gateway" in SERVICES[name]["extra_hosts"]
    _, _, hosts = environment["MODEL_SEARCH_HOSTS"].removesuffix("}").partition(":-")
    assert "host.docker.internal" in hosts.split(",")
    assert ModelSettings(search_hosts=tuple(hosts.split(","))).base_url == ""


def test_the_web_server_has_one_port_inside_and_outside() -> None:
    """Else the links that it prints are wrong."""
    port = SERVICES["api"]["environment"]["ASSISTANT_PORT"]
    assert SERVICES["api"]["ports"] == [f"127.0.0.1:{port}:{port}"]
