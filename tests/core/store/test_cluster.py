"""A real cluster of three nodes is refused, in words that say what to do (decision 8)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.store.opening import open_store
from tests.support.commands import command
from tests.support.servers import OwnServer, free_port, own_server
from tests.support.waiting import wait_until

SLOTS = 16384
NODES = 3


async def whole(node: OwnServer) -> bool:
    """Whether a node knows of all others and serves every slot."""
    about = str(await node.redis.execute_command("CLUSTER INFO"))
    nodes = str(await node.redis.execute_command("CLUSTER NODES"))
    links = nodes.count("connected") - nodes.count("disconnected")
    return "ok" in about and "fail" not in nodes and links == NODES


@asynccontextmanager
async def cluster(folder: Path) -> AsyncGenerator[list[OwnServer]]:
    """Three primaries that share the slots."""
    async with AsyncExitStack() as stack:
        nodes: list[OwnServer] = []
        buses: list[int] = []
        for number in range(NODES):
            buses.append(free_port())
            options = ("--cluster-enabled", "yes", "--cluster-port", str(buses[-1]))
            server = own_server(folder / f"n{number}", *options)
            nodes.append(await stack.enter_async_context(server))
        for number, node in enumerate(nodes):
            first, end = SLOTS * number // NODES, SLOTS * (number + 1) // NODES
            await node.redis.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
            await nodes[0].redis.execute_command(
                "CLUSTER MEET", "127.0.0.1", node.port, buses[number]
            )
        for node in nodes:
            await wait_until(lambda node=node: whole(node), timeout=60)
        yield nodes


@pytest.mark.timeout(120)
async def test_every_node_of_a_cluster_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as nodes:
        for node in nodes:
            with pytest.raises(ConfigError, match="Cluster; use a single or Sentinel-managed"):
                async with open_store(node.url):
                    pass
            assert await node.redis.dbsize() == 0
        home = tmp_path / "home"
        home.mkdir()
        worker = await command(home, "worker", REDIS_URL=nodes[0].url)
        assert worker.code == 2
        assert "Redis Cluster" in worker.err
        doctor = await command(home, "doctor", REDIS_URL=nodes[0].url)
        assert doctor.code == 1
        assert "runs as a cluster" in doctor.out
