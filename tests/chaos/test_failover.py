"""A replica becomes the primary behind one address: the assistant goes on without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.demo.script import bench_tokens
from tests.chaos.checker import effects_of, logged
from tests.chaos.measure import new_thread, recovered, say, until
from tests.chaos.world import World, running_world
from tests.support.servers import OwnServer, free_port, own_server
from tests.support.waiting import wait_until

TOKENS = 200


async def follows(world: World, replica: OwnServer) -> None:
    """Let the replica copy the primary, and wait until it has all."""
    port = free_port()
    await world.redis.config_set("bind", "127.0.0.1")
    await world.redis.config_set("port", port)
    await replica.redis.execute_command("REPLICAOF", "127.0.0.1", port)

    async def linked() -> bool:
        about = await replica.redis.info("replication")
        return about["master_link_status"] == "up"

    await wait_until(linked, timeout=60)


async def caught_up(world: World, replica: OwnServer) -> bool:
    """Whether the replica has every write of the primary, which accepts no more."""
    ours = await world.redis.info("replication")
    theirs = await replica.redis.info("replication")
    return ours["master_repl_offset"] == theirs["slave_repl_offset"]


async def hand_over(world: World, replica: OwnServer, *, planned: bool) -> None:
    """Make the replica the primary. Planned: after it has everything. Else after a sudden death,
    at a moment when it has what was accepted."""
    if planned:
        await world.redis.execute_command("CLIENT PAUSE", 60_000, "WRITE")
        await wait_until(lambda: caught_up(world, replica), timeout=30)
    else:
        await world.redis.set("asst:worker:probe", "1", ex=5)
        assert await world.redis.execute_command("WAIT", 1, 30_000) == 1
    assert world.server.process is not None
    world.server.process.kill()
    await world.server.process.wait()
    await replica.redis.execute_command("REPLICAOF", "NO", "ONE")
    world.proxy.lead_to(replica.url)
    world.redis = replica.redis


@pytest.mark.timeout(180)
@pytest.mark.parametrize("planned", [True, False])
async def test_a_promoted_replica_carries_on_with_every_accepted_message(
    planned: bool, tmp_path: Path
) -> None:
    async with (
        own_server(tmp_path / "replica") as replica,
        running_world() as world,
        world.client(timeout=60) as client,
    ):
        await follows(world, replica)
        running, waiting = await new_thread(client), await new_thread(client)
        assert (await say(client, running, f"bench:{TOKENS}:20", "m1")).status == 202
        await until(client, running, "text_delta")
        for name in ("m2", "m3"):
            text = f'tool:append_line {{"label":"{name}"}}'
            assert (await say(client, running, text, name)).status == 202
        assert (await say(client, waiting, "bench:5", "m1")).status == 202
        await hand_over(world, replica, planned=planned)
        await recovered(world, "after")
        for name in ("m1", "m2", "m3"):
            started = await until(client, running, "turn_started", message_id=name)
            run = started.data["run_id"]
            await until(client, running, "turn_finished", run_id=run, status="completed")
        await until(client, waiting, "turn_finished", status="completed")
        detail = (await client.get(f"/api/threads/{running}")).json()
        answers = [m["text"] for m in detail["messages"] if m["role"] == "assistant"]
        assert answers == ["".join(bench_tokens(TOKENS)), "appended m2", "appended m3"]
        assert effects_of(world) == {"m2": 1, "m3": 1}
        assert {child.starts for child in (world.web, *world.workers)} == {1}
        assert logged(world) == []
