"""What the campaign does to the world. Each fault ends with the world whole again, or mending."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from tests.chaos.model import ModelFault
from tests.chaos.world import Child, World
from tests.support.fault_proxy import Mode

Group = Literal["redis", "worker", "web", "model", "clock"]
Act = Callable[[World, random.Random], Awaitable[None]]
READY_LIMIT = 120.0
"""Seconds, a minute without Redis included."""


@dataclass(frozen=True)
class Fault:
    """``weight``: how often, compared with the others. Two of a group never happen at once."""

    name: str
    group: Group
    weight: float
    act: Act


async def _pick(world: World, rng: random.Random) -> Child:
    """A worker that works."""
    workers = list(world.workers)
    rng.shuffle(workers)
    async with asyncio.timeout(READY_LIMIT):
        while True:
            for worker in workers:
                if worker.ready.is_set():
                    return worker
            await asyncio.sleep(0.05)


async def _freeze(child: Child, seconds: float) -> None:
    child.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        child.signal(signal.SIGCONT)


# ---- workers


async def worker_killed(world: World, rng: random.Random) -> None:
    """kill -9."""
    (await _pick(world, rng)).signal(signal.SIGKILL)


async def worker_stopped(world: World, rng: random.Random) -> None:
    """SIGTERM: it drains."""
    (await _pick(world, rng)).signal(signal.SIGTERM)


async def worker_frozen(world: World, rng: random.Random) -> None:
    """A pause, often longer than its lease: it wakes as a zombie."""
    await _freeze(await _pick(world, rng), rng.choice((0.3, 1.0, 2.0, 3.0)))


async def all_workers_killed(world: World, rng: random.Random) -> None:
    """Nobody is left for a while."""
    await _pick(world, rng)
    for worker in world.workers:
        worker.signal(signal.SIGKILL)


# ---- the web process


async def _with_web(world: World, number: signal.Signals) -> None:
    async with asyncio.timeout(READY_LIMIT):
        await world.web.ready.wait()
    world.hurting_web()
    world.web.signal(number)


async def web_killed(world: World, _rng: random.Random) -> None:
    """kill -9."""
    await _with_web(world, signal.SIGKILL)


async def web_stopped(world: World, _rng: random.Random) -> None:
    """SIGTERM: farewell to the readers."""
    await _with_web(world, signal.SIGTERM)


async def web_frozen(world: World, rng: random.Random) -> None:
    """A pause."""
    await _with_web(world, signal.SIGSTOP)
    try:
        await asyncio.sleep(rng.choice((0.2, 0.8, 2.0)))
    finally:
        world.web.signal(signal.SIGCONT)
        world.hurting_web()


# ---- Redis and the way to it


def _redis_ended(number: signal.Signals) -> Act:
    async def act(world: World, rng: random.Random) -> None:
        process = world.server.process
        assert process is not None
        process.send_signal(number)
        await world.redis_gone()
        await asyncio.sleep(rng.choice((0.0, 0.2, 1.0)))
        await world.start_redis()

    return act


async def redis_frozen(world: World, rng: random.Random) -> None:
    """A pause, within and beyond our timeouts."""
    process = world.server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(rng.choice((0.2, 1.0, 2.5, 3.5)))
    finally:
        process.send_signal(signal.SIGCONT)


def _way(mode: Mode, *seconds: float) -> Act:
    async def act(world: World, rng: random.Random) -> None:
        world.proxy.mode = mode
        try:
            await asyncio.sleep(rng.choice(seconds))
        finally:
            world.proxy.mode = "pass"

    return act


async def way_cut(world: World, _rng: random.Random) -> None:
    """All connections break at once."""
    world.proxy.cut()


async def way_half_open(world: World, _rng: random.Random) -> None:
    """All connections stay open and carry nothing any more, for ever; new ones work."""
    world.proxy.forget()


async def way_slow(world: World, rng: random.Random) -> None:
    """Each chunk is late."""
    world.proxy.latency = rng.choice((0.005, 0.05, 0.15))
    await asyncio.sleep(rng.uniform(0.3, 1.5))
    world.proxy.latency = 0.0


# ---- the model


def _model(fault: ModelFault) -> Act:
    async def act(world: World, _rng: random.Random) -> None:
        world.model.due.append(fault)
        await asyncio.sleep(0.2)

    return act


# ---- clocks

CLOCK_JUMPS = "clock jumps"
JUMPS = (0, 1, 5, 60, 900, 3600, 6 * 3600)
"""Seconds. Two clocks may then be half a day apart, and message ids are remembered for a day."""


async def clock_jumps(world: World, rng: random.Random) -> None:
    """The wall clock of one process or of all goes forward or back, and stays there."""
    names = ("redis", world.web.name, *(worker.name for worker in world.workers))
    chosen = rng.choice((("redis",), ("redis",), (rng.choice(names),), names))
    seconds = rng.choice(JUMPS) * rng.choice((1, -1))
    world.note(f"clocks of {', '.join(chosen)} at {seconds:+d} s")
    for name in chosen:
        world.clocks.set(name, seconds)
    await asyncio.sleep(0.2)


FAULTS = (
    Fault("worker killed", "worker", 10, worker_killed),
    Fault("worker stopped", "worker", 5, worker_stopped),
    Fault("worker frozen", "worker", 6, worker_frozen),
    Fault("all workers killed", "worker", 1, all_workers_killed),
    Fault("web killed", "web", 5, web_killed),
    Fault("web stopped", "web", 3, web_stopped),
    Fault("web frozen", "web", 3, web_frozen),
    Fault("redis killed", "redis", 8, _redis_ended(signal.SIGKILL)),
    Fault("redis stopped", "redis", 3, _redis_ended(signal.SIGTERM)),
    Fault("redis frozen", "redis", 5, redis_frozen),
    Fault("redis away", "redis", 6, _way("reset", 0.3, 1.0, 1.0)),
    Fault("redis away for long", "redis", 0.4, _way("reset", 10.0)),
    Fault("way silent", "redis", 5, _way("blackhole", 0.5, 1.5, 3.5)),
    Fault("replies lost", "redis", 6, _way("drop_replies", 0.3, 1.0, 2.5)),
    Fault("replies cut", "redis", 6, _way("cut_replies", 0.1, 0.5)),
    Fault("replies in drops", "redis", 3, _way("drip", 0.3, 1.0)),
    Fault("way cut", "redis", 8, way_cut),
    Fault("way half open", "redis", 5, way_half_open),
    Fault("way slow", "redis", 6, way_slow),
    Fault(CLOCK_JUMPS, "clock", 8, clock_jumps),
    Fault("model slow", "model", 2, _model("slow")),
    Fault("model hangs", "model", 0.7, _model("hang")),
    Fault("model stalls", "model", 0.7, _model("stall")),
    Fault("model garbage", "model", 1, _model("garbage")),
    Fault("model endless", "model", 0.5, _model("endless")),
    Fault("model cut", "model", 1.5, _model("cut")),
    Fault("model error", "model", 1, _model("error")),
    Fault("model noise", "model", 1, _model("noise")),
)

LONG_OUTAGE = Fault("redis away for a minute", "redis", 0, _way("reset", 60.0))
"""Once in the long version."""
