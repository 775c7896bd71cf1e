"""The real graph, saver and gateway with a model that follows a script, one turn at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
from aiohttp import web
from langchain_core.messages import AnyMessage

from core.engine.mailbox import Busy, Mailbox, Turn
from core.engine.turns import Turns
from core.home.secrets import SecretBox
from core.live_settings.live import LiveSettings
from core.models.gateway import open_gateway
from core.services import Services, services_of
from core.settings.source import Layer, build
from core.store import keys
from core.store.client import Store
from graph.build import Graph, build_graph
from graph.checkpoint.saver import RedisSaver
from graph.process import turn_reads
from graph.runner import Runner
from nodes.state import Context
from tests.support.desk import USER, Desk
from tests.support.gateways import QUICK
from tests.support.quirks_server import DONE, ModelServer, answer, chunk, refuse, say, serve
from tools.base import Tool, Toolset
from tools.toolbox import Toolbox

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]
Script = Callable[[dict[str, Any]], Reply]
"""Body of a chat request → what the server answers."""


def text(words: str) -> Reply:
    """A plain answer."""
    return lambda request: say(request, words)


def thinking(thought: str, words: str) -> Reply:
    """An answer after some thinking."""
    parts = (chunk({"reasoning_content": thought}), chunk({"content": words}), chunk({}, "stop"))
    return lambda request: answer(request, *parts, DONE)


def pieces(*words: str) -> Reply:
    """An answer whose pieces arrive one after the other."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = await answer_begin(request, words[0])
        for word in words[1:]:
            await asyncio.sleep(0.02)
            await response.write(chunk({"content": word}))
        await response.write(chunk({}, "stop") + DONE)
        await response.write_eof()
        return response

    return reply


def calls(*wanted: tuple[str, dict[str, Any] | str], words: str = "", ids: str = "call") -> Reply:
    """Calls of tools; a string as arguments is sent as it is."""
    deltas = [
        {
            "index": n,
            "id": f"{ids}_{n}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": given if isinstance(given, str) else json.dumps(given),
            },
        }
        for n, (name, given) in enumerate(wanted)
    ]
    parts = [chunk({"content": words})] if words else []
    parts += [chunk({"tool_calls": deltas}), chunk({}, "tool_calls"), DONE]
    return lambda request: answer(request, *parts)


def broken(words: str) -> Reply:
    """The beginning of an answer, then the connection breaks."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = await answer_begin(request, words)
        await asyncio.sleep(0.02)  # a reset may overtake what was sent before it
        assert request.transport is not None
        request.transport.abort()
        return response

    return reply


def stuck(words: str, gate: asyncio.Event) -> Reply:
    """The beginning of an answer, then nothing until the gate opens."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = await answer_begin(request, words)
        await gate.wait()
        await response.write(chunk({"content": "!"}) + chunk({}, "stop") + DONE)
        await response.write_eof()
        return response

    return reply


def failing(status: int, message: str) -> Reply:
    """An error."""

    async def reply(request: web.Request) -> web.StreamResponse:
        return refuse(status, message)

    return reply


async def answer_begin(request: web.Request, words: str) -> web.StreamResponse:
    """Headers and a first piece."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(chunk({"content": words}))
    return response


def in_order(*replies: Reply) -> Script:
    """One reply after the other; the last one for ever."""
    left = list(replies)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]


@dataclass
class Studio:
    """Everything of a worker but its loops."""

    desk: Desk
    model: ModelServer
    live: LiveSettings
    services: Services
    toolbox: Toolbox
    saver: RedisSaver
    graph: Graph
    script: list[Script] = field(default_factory=list[Script])

    def turns(
        self, name: str = "A", saver: RedisSaver | None = None, store: Store | None = None
    ) -> Turns:
        """A worker's turns; with a saver and a store of its own it can be cut off."""
        graph = self.graph if saver is None else build_graph(self.live, saver)
        runner = Runner(graph, self.services, self.toolbox)
        box = Mailbox(store or self.desk.store, name, reads=turn_reads(saver or self.saver))
        return Turns(box, self.live, runner.run, runner.give_up)

    async def take(self, thread: str, name: str = "A") -> Turn:
        """Claim under the live settings."""
        box = Mailbox(self.desk.store, name, reads=turn_reads(self.saver))
        turn = await box.claim(thread, self.live.current.engine, user_id=USER)
        assert isinstance(turn, Turn)
        return turn

    def context(self, turn: Turn) -> Context:
        """What the nodes of a turn may use."""
        return Context(
            self.services, self.toolbox.for_turn(turn.inbound.user_id, turn.thread_id), turn
        )

    async def say(self, thread: str, words: str, message_id: str = "", **more: Any) -> list[Told]:
        """Send a message, run its turn, return its events."""
        message_id = message_id or f"m{len(await self.desk.entries(thread))}"
        run = (await self.desk.send(thread, message_id, words, **more)).run_id
        outcome: Turn | Busy | None = await self.turns().take(await self.take(thread))
        assert outcome is None
        return await self.told(thread, run)

    async def told(self, thread: str, run: str) -> list[Told]:
        """Events of a run."""
        return [
            Told(entry.type, cast("dict[str, Any]", orjson.loads(entry.data)))
            for entry in await self.desk.entries(thread)
            if entry.run_id == run
        ]

    async def state(self, thread: str) -> list[AnyMessage]:
        """The messages of the graph's state."""
        snapshot = await self.graph.aget_state({"configurable": {"thread_id": thread}})
        return cast("list[AnyMessage]", snapshot.values.get("messages", []))

    async def summary(self, thread: str) -> str:
        """The rolling summary."""
        snapshot = await self.graph.aget_state({"configurable": {"thread_id": thread}})
        return str(snapshot.values.get("summary", ""))

    async def checkpoints(self, thread: str) -> int:
        """How many are kept."""
        return int(await self.desk.redis.zcard(keys.checkpoint(thread, "i")))

    async def last(self, thread: str) -> dict[str, Any]:
        """The newest record of the transcript."""
        return cast("dict[str, Any]", (await self.desk.transcript(thread))[-1])


async def died(it: Studio, thread: str) -> None:
    """Time passes: the lease of the dead worker runs out."""
    await it.desk.redis.delete(keys.lease(thread))


@dataclass(frozen=True)
class Told:
    """One event."""

    type: str
    data: dict[str, Any]


def kinds(told: Sequence[Told]) -> list[str]:
    """Types of events, neighbours of one type once."""
    types = [event.type for event in told]
    return [kind for n, kind in enumerate(types) if n == 0 or types[n - 1] != kind]


def shown(told: Sequence[Told]) -> str:
    """The text that a client ends up with, by the rules of the contract."""
    text, done = "", False
    for event in told:
        match event.type:
            case "turn_started":
                text, done = "", False
            case "text_delta":
                text, done = ("" if done else text) + event.data["text"], False
            case "message_completed":
                assert text == event.data["text"], (told, text)
                done = True
            case _:
                pass
    return text


def listed(request: web.Request) -> web.Response:
    """One model with a context of 32,768."""
    entry = {"id": "m", "object": "model", "max_model_len": 32_768}
    return web.json_response({"object": "list", "data": [entry]})


@asynccontextmanager
async def studio(
    store: Store,
    home: Path,
    script: Script,
    *,
    tools: Sequence[Tool] = (),
    toolsets: Sequence[Toolset] = (),
    about: Callable[[web.Request], web.Response] = listed,
    **groups: Any,
) -> AsyncGenerator[Studio]:
    """A studio; ``groups`` are settings by group, ``about`` answers all that is no chat."""
    current = [script]

    async def handle(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/chat/completions"):
            return about(request)
        return await current[0](json.loads(await request.read()))(request)

    async with serve(handle) as model:
        # One round, so that a script says all that is asked: grades have tests of their own.
        layer: Layer = {
            "model": {"base_url": model.base_url, "name": "m"},
            "orchestrator": {"autonomous_mode": False},
        }
        for group, values in groups.items():
            layer.setdefault(group, {}).update(values)
        live = LiveSettings(build(home, (("config", layer),)), store, SecretBox(bytes(32)))
        async with open_gateway(store, live, ports=(), timing=QUICK) as gateway:
            services = services_of(store, live, gateway)
            more = [entry for toolset in toolsets for entry in toolset(services)]
            toolbox = Toolbox({"test": [*tools, *more]})
            saver = RedisSaver(store.redis)
            graph = build_graph(live, saver)
            desk = Desk(store, live.current.engine)
            yield Studio(desk, model, live, services, toolbox, saver, graph, current)


__all__ = ["USER", "Studio", "studio"]
