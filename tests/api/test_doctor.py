"""`assistant doctor`: as a process where nothing runs, and its looks at real servers."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp import web
from redis.exceptions import ResponseError

from api.commands.doctor import local as local
from api.commands.doctor.finding import Finding
from api.commands.doctor.servers import discovered, server_findings
from api.commands.doctor.store import store_findings
from api.demo.model import create_demo_app
from core.accounts.passwords import set_first_password
from core.models.servers.discovery import Server
from core.settings.groups import ModelSettings, Settings
from core.store import keys
from core.store.connection import connect
from core.store.redis import RedisClient
from tests.support.commands import Done, command
from tests.support.stack import running_stack


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    """The findings, the last of each name."""
    return {finding.name: finding for finding in findings}


async def doctor(home: Path, **changes: str) -> Done:
    """The report as JSON."""
    changes = {"ASSISTANT_PORT": "0", **changes}
    return await command(home, "doctor", "--json", **changes)


@pytest.fixture
async def model_url() -> AsyncGenerator[str]:
    """A model server."""
    runner = web.AppRunner(create_demo_app(pace=0, log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


async def test_a_new_home_is_fine_and_told_how_to_start(tmp_path: Path, model_url: str) -> None:
    home = tmp_path / "new"
    done = await doctor(home, OPENAI_BASE_URL=model_url)
    report = json.loads(done.out)
    assert (done.code, report["ok"]) == (0, True), done.out
    found = {check["name"]: check for check in report["checks"]}
    assert found["running"]["status"] == "warn"
    assert "assistant up" in found["running"]["fix"]
    assert found["model"]["detail"].endswith("serves scripted-demo")
    assert not home.exists()


async def test_a_bad_setting_is_named_and_fails(tmp_path: Path) -> None:
    done = await doctor(tmp_path, ENGINE_MAX_INBOX="many")
    report = json.loads(done.out)
    assert (done.code, report["ok"]) == (1, False)
    assert "engine.max_inbox (from environment)" in report["checks"][-1]["detail"]


async def test_settings_and_slips_are_listed_without_secrets(tmp_path: Path) -> None:
    secret, password = "tok_123456789", "hunter22"  # not-a-secret
    changes = {
        "TELEGRAM_BOT_TOKEN": secret,
        "OPENAI_API_KEY": secret,
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "MODEL_NAMES": "x",
        "REDIS_URL": f"redis://me:{password}@127.0.0.1:1/0",  # not-a-secret
    }
    done = await doctor(tmp_path, **changes)
    text = await command(tmp_path, "doctor", **changes)
    for out in (done.out, text.out):
        assert secret not in out
        assert password not in out
    report = json.loads(done.out)
    checks = {check["name"]: check for check in report["checks"]}
    assert "did you mean MODEL_NAME?" in checks["environment"]["detail"]
    assert "telegram.bot_token is set, but" in checks["settings"]["detail"]
    assert [checks[name]["status"] for name in ("store", "model")] == ["fail", "fail"]
    assert all(check["fix"] for check in report["checks"] if check["status"] != "ok")
    sources = {entry["name"]: (entry["value"], entry["source"]) for entry in report["settings"]}
    assert sources["model.base_url"] == ("http://127.0.0.1:1/v1", "environment")
    assert sources["model.api_key"] == ("[redacted]", "environment")
    assert text.code == 1
    assert "fail  store: Redis does not answer" in text.out


async def test_a_running_assistant_is_well() -> None:
    async with running_stack() as stack:
        async with stack.client() as client:
            saved = await client.put("/api/settings/model", json={"temperature": 0.5})
            assert saved.status_code == 200
        done = await doctor(stack.home, OPENAI_BASE_URL=stack.model_url)
    report = json.loads(done.out)
    assert done.code == 0, done.out
    states = {check["name"]: check["status"] for check in report["checks"]}
    wanted = ("store", "durability", "state", "worker", "set-up", "web", "model", "home", "disk")
    assert {states[name] for name in wanted} == {"ok"}
    assert {"name": "model.temperature", "value": "0.5", "source": "saved"} in report["settings"]


async def test_what_is_missing_in_the_store(redis: RedisClient, settings: Settings) -> None:
    found = by_name(await store_findings(redis, settings))
    assert found["set-up"].status == "warn"
    assert (found["worker"].status, found["state"].detail) == ("warn", "nothing is stored yet")
    await set_first_password(redis, "correct horse")
    await redis.hset(keys.pending(), "t_1", "m_1")
    await redis.xadd(keys.dead_letters(), {"a": "b"})
    found = by_name(await store_findings(redis, settings))
    assert found["set-up"].status == "ok"
    assert (found["worker"].status, found["messages"].status) == ("fail", "warn")
    await redis.zadd(keys.workers(), {"w": int(time.time() * 1000)})
    assert by_name(await store_findings(redis, settings))["worker"].status == "ok"


@pytest.mark.parametrize(
    ("stored", "fix"),
    [
        ({"format": "99"}, "newer version"),
        ({"format": "1", "checkpointer": "redis-stack"}, "set"),
        ({"format": "1", "restoring": "2031-01-03T00:00:00+00:00"}, "assistant restore FILE"),
    ],
)
async def test_state_that_this_version_cannot_read(
    redis: RedisClient, settings: Settings, stored: dict[str, str], fix: str
) -> None:
    for name, value in stored.items():
        await redis.hset(keys.installation(), name, value)
    state = by_name(await store_findings(redis, settings))["state"]
    assert state.status == "fail"
    assert fix in state.fix


@pytest.mark.parametrize(
    ("name", "value", "found", "status"),
    [
        ("appendonly", "no", "durability", "warn"),
        ("appendfsync", "always", "durability", "warn"),
        ("maxmemory", "1gb", "memory", "ok"),
        ("maxmemory", "1mb", "memory", "warn"),
    ],
)
async def test_a_server_that_is_set_up_differently(
    redis: RedisClient, settings: Settings, name: str, value: str, found: str, status: str
) -> None:
    before = await redis.config_get(name)
    old = before[name] or ""
    await redis.config_set(name, value)
    try:
        assert by_name(await store_findings(redis, settings))[found].status == status
    finally:
        await redis.config_set(name, old)


async def test_a_server_that_evicts_fails(redis: RedisClient, settings: Settings) -> None:
    await redis.config_set("maxmemory", "1gb")
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = by_name(await store_findings(redis, settings))["memory"]
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", "0")
    assert (found.status, "noeviction" in found.fix) == ("fail", True)


async def test_a_replica_is_named(redis: RedisClient, settings: Settings) -> None:
    await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        findings = await store_findings(redis, settings)
    finally:
        await redis.execute_command("REPLICAOF", "NO", "ONE")
    failed = next(finding for finding in findings if finding.status == "fail")
    assert "read-only replica" in failed.detail


async def test_a_server_without_config_command_is_no_problem(
    redis: RedisClient, redis_url: str, settings: Settings
) -> None:
    rules = ["on", "nopass", "~*", "&*", "+@all", "-config"]
    await redis.execute_command("ACL", "SETUSER", "guest", *rules)
    guest = connect(redis_url.replace("unix://", "unix://guest:x@"))
    try:
        with pytest.raises(ResponseError):
            await guest.config_get("appendfsync")
        assert by_name(await store_findings(guest, settings))["durability"].status == "ok"
    finally:
        await guest.aclose()
        await redis.execute_command("ACL", "DELUSER", "guest")


async def test_the_model_server(model_url: str) -> None:
    async def look(**values: str) -> Finding:
        model = ModelSettings.model_validate(values)
        return by_name(await server_findings("", model, expected=False))["model"]

    assert (await look(base_url=model_url)).status == "ok"
    other = await look(base_url=model_url, name="llama")
    assert (other.status, "scripted-demo" in other.detail) == ("warn", True)
    gone = await look(base_url="http://127.0.0.1:1/v1")
    assert (gone.status, "No answer" in gone.detail) == ("fail", True)


async def test_a_model_server_that_wants_a_key() -> None:
    server = Server("llamacpp", "http://127.0.0.1:8080/v1", (), needs_key=True)
    found = discovered((server,), ModelSettings())
    assert (found.status, server.base_url in found.detail) == ("fail", True)
    assert "OPENAI_API_KEY" in found.fix


async def test_a_web_server_that_should_answer(model_url: str) -> None:
    model = ModelSettings(base_url=model_url)
    dead = by_name(await server_findings("http://127.0.0.1:1", model, expected=False))
    assert dead["web"].status == "fail"
    none = by_name(await server_findings("", model, expected=True))
    assert none["web"].status == "warn"


def test_a_home_that_others_can_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    home = by_name(local.home_folder(tmp_path))["home"]
    assert (home.status, home.fix) == ("warn", f"run: chmod 700 '{tmp_path}'")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert local.home_folder(tmp_path / "home")[0].status == "fail"


def test_a_port_in_use(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = settings.server.model_copy(update={"port": taken.getsockname()[1]})
        taken_port = settings.model_copy(update={"server": server})
        busy = local.free_port(taken_port, is_set=True)
        usual = local.free_port(taken_port, is_set=False)
    assert "stop what uses it" in busy[0].fix
    assert "next free port" in usual[0].fix
    assert local.free_port(taken_port, is_set=True) == []
