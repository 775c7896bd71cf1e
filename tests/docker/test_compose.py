"""`docker compose up` for real: an image is built, containers run, people talk to them."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import yaml

from tests.docker.composed import Composed, docker
from tests.style import tree
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(1800),  # the first one builds the image
]

LASTING = ("api", "redis", "worker")
STOP_SECONDS = 15
MEBIBYTE = 1024**2
SIZES = {"m": MEBIBYTE, "g": 1024 * MEBIBYTE}


async def test_a_conversation_survives_a_restart_of_everything(composed: Composed) -> None:
    thread = await composed.say("hello")
    answer = await composed.answer(thread)
    assert "scripted demo model" in answer
    await composed.compose("restart")
    await composed.up()
    assert await composed.answer(thread) == answer


async def test_new_containers_find_the_old_state(composed: Composed) -> None:
    thread = await composed.say("hello")
    answer = await composed.answer(thread)
    await composed.compose("down")
    await composed.up()
    assert await composed.answer(thread) == answer


async def test_stopping_in_a_turn_is_quick_and_loses_nothing(composed: Composed) -> None:
    before = composed.questions()
    thread = await composed.say("bench:1500:20")  # half a minute of answer
    await wait_until(lambda: composed.questions() > before, timeout=20)
    assert await composed.stop() < STOP_SECONDS
    await composed.up()
    assert len((await composed.answer(thread, seconds=90)).split()) > 100


async def test_what_is_accepted_without_a_worker_is_answered_later(composed: Composed) -> None:
    await composed.compose("stop", "worker")
    thread = await composed.say("hello")
    assert [m["status"] for m in await composed.messages(thread)] == ["queued"]
    await composed.compose("start", "worker")
    assert await composed.answer(thread)


async def test_two_workers_share_the_work_and_one_may_die(composed: Composed) -> None:
    await composed.up(workers=2)
    async with composed.client() as client:
        system = (await client.get("/metrics")).raise_for_status().text
    assert "assistant_workers 2.0" in system
    threads = await asyncio.gather(*(composed.say("bench:200:20") for _ in range(4)))
    await docker("kill", (await composed.inspected())["worker"]["Id"])
    await composed.up(workers=2)
    assert all(await asyncio.gather(*(composed.answer(thread) for thread in threads)))


async def test_containers_run_without_rights_and_within_their_limits(composed: Composed) -> None:
    wanted = yaml.safe_load(tree.text(tree.ROOT / "compose.yaml"))["services"]
    found = await composed.inspected()
    assert sorted(found) == sorted(LASTING)
    for name in LASTING:
        host, limit = found[name]["HostConfig"], wanted[name]["mem_limit"]
        assert host["Memory"] == int(limit[:-1]) * SIZES[limit[-1]]
        assert host["NanoCpus"] == wanted[name]["cpus"] * 1_000_000_000
        assert host["PidsLimit"] == wanted[name]["pids_limit"]
        assert await composed.inside(name, "id", "-u") == "1000\n"
        assert await composed.inside(name, "id", "-g") == "1000\n"
        status = await composed.inside(name, "cat", "/proc/self/status")
        assert "CapEff:\t0000000000000000\n" in status
        assert "NoNewPrivs:\t1\n" in status
        tried = await composed.inside(name, "sh", "-c", "touch /usr/bin/mine 2>&1 || true")
        assert "Read-only file system" in tried


async def test_only_this_machine_reaches_the_web_server_and_nobody_redis(
    composed: Composed,
) -> None:
    found = await composed.inspected()
    port = composed.url.rpartition(":")[2]
    published = {name: found[name]["HostConfig"]["PortBindings"] for name in LASTING}
    binding = {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}
    assert published == {"api": binding, "redis": {}, "worker": {}}
    assert list(found["redis"]["NetworkSettings"]["Networks"]) == [f"{composed.project}_state"]
    async with httpx.AsyncClient(base_url=composed.url) as stranger:
        assert (await stranger.get("/api/threads")).status_code == 401


async def test_redis_wants_its_password_and_cannot_be_reconfigured(composed: Composed) -> None:
    assert "NOAUTH" in await composed.inside("redis", "valkey-cli", "dbsize")
    with_password = "REDISCLI_AUTH=$(cat /credentials/redis) valkey-cli "
    for command in ("config set dir /tmp", "replicaof 10.0.0.1 6379", "shutdown nosave"):
        assert "NOPERM" in await composed.inside("redis", "sh", "-c", with_password + command)
    append = await composed.inside("redis", "sh", "-c", with_password + "config get appendonly")
    assert append.split() == ["appendonly", "yes"]


async def test_the_doctor_is_content_in_a_container(composed: Composed) -> None:
    report = await composed.inside("api", "assistant", "doctor")
    assert "ok    worker: 1 running" in report
    assert "ok    model:" in report


async def test_the_password_of_redis_is_in_no_log_and_no_environment(composed: Composed) -> None:
    password = (await composed.inside("redis", "cat", "/credentials/redis")).strip()
    assert len(password) >= 32
    assert password not in await composed.compose("logs")
    for one in (await composed.inspected()).values():
        assert password not in str(one)
