"""Discovery on free ports: every make of server, and what is no model server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from core.errors import NO_CREDENTIAL
from core.home.web_address import write_address
from core.models.errors import ModelError
from core.models.servers.catalog import ServerKind, choose, normal_base, parse_models
from core.models.servers.discovery import Server, discover
from core.models.wire.transport import Transport, open_transport
from core.settings.groups import Settings
from core.store.redis import RedisClient
from tests.support.gateways import ask, opened
from tests.support.quirks_server import Handler, ModelServer, load_scenarios, refuse, say, serve

MODELS = {name: scenario.get("body") for name, scenario in load_scenarios().items()}


def listing(body: Any, **paths: Any) -> Handler:
    """A server with this model list and further JSON paths (slashes as underscores)."""
    answers = {"/v1/models": body, **{path.replace("_", "/"): data for path, data in paths.items()}}

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/chat/completions"):
            return await say(request, "Hello")
        if request.path not in answers:
            return web.json_response({"error": "Unexpected endpoint"})
        return web.json_response(answers[request.path])

    return handle


@pytest.fixture
async def transport() -> AsyncGenerator[Transport]:
    """A pool."""
    async with open_transport() as it:
        yield it


@pytest.fixture
async def start() -> AsyncGenerator[Callable[[Handler], Any]]:
    """Starts servers that end with the test."""
    async with AsyncExitStack() as stack:

        async def run(handler: Handler) -> ModelServer:
            return await stack.enter_async_context(serve(handler))

        yield run


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("models_lmstudio", "lmstudio"),
        ("models_ollama", "ollama"),
        ("models_llamacpp", "llamacpp"),
        ("models_vllm", "vllm"),
        ("models_openai", "openai"),
        ("models_ollama_empty", "ollama"),
    ],
)
async def test_the_make_is_recognised(
    transport: Transport, start: Callable[[Handler], Any], name: str, kind: str
) -> None:
    server = await start(listing(MODELS[name]))
    found = await discover(transport, [(server.port, "ollama")])
    assert [(it.kind, it.base_url) for it in found] == [(kind, server.base_url)]


async def test_lm_studio_says_what_is_loaded_and_what_embeds(
    transport: Transport, start: Callable[[Handler], Any]
) -> None:
    states = {
        "data": [
            {"id": "a", "type": "llm", "state": "not-loaded"},
            {"id": "b", "type": "vlm", "state": "loaded", "loaded_context_length": 9000},
            {"id": "c", "type": "embeddings", "state": "loaded"},
        ]
    }
    listed = {"data": [{"id": i, "owned_by": "organization_owner"} for i in "cab"]}
    server = await start(listing(listed, _api_v0_models=states))
    (found,) = await discover(transport, [(server.port, "lmstudio")])
    chosen = choose(found.models)
    assert chosen is not None
    assert (chosen.id, chosen.loaded, chosen.context) == ("b", True, 9000)


async def test_what_is_no_model_server_is_left_out(
    transport: Transport, start: Callable[[Handler], Any]
) -> None:
    async def closed(request: web.Request) -> web.StreamResponse:
        return refuse(401, f"{NO_CREDENTIAL} `Authorization: Bearer ak_…`")

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>", content_type="text/html")

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    own = listing({"object": "list", "data": [{"id": "assistant", "object": "model"}]})
    ports = [(await start(handler)).port for handler in (closed, page, slow, own, listing(7))]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ports.append(unused.getsockname()[1])
        found = await discover(transport, [(port, "llamacpp") for port in ports], seconds=0.5)
    assert found == ()


async def test_our_own_port_is_not_asked(
    transport: Transport, start: Callable[[Handler], Any]
) -> None:
    server = await start(listing(MODELS["models_ollama"]))
    assert await discover(transport, [(server.port, "ollama")], own_port=server.port) == ()
    assert server.seen == []


async def test_every_named_host_is_asked_and_one_that_does_not_exist_does_no_harm(
    transport: Transport, start: Callable[[Handler], Any]
) -> None:
    states = {"data": [{"id": "a", "type": "llm", "state": "loaded"}]}
    listed = {"data": [{"id": "a", "owned_by": "organization_owner"}]}
    server = await start(listing(listed, _api_v0_models=states))
    hosts = ("nowhere.invalid", "localhost", "127.0.0.1")
    found = await discover(transport, [(server.port, "ollama")], hosts=hosts)
    assert [it.base_url for it in found] == [
        f"http://{host}:{server.port}/v1" for host in ("localhost", "127.0.0.1")
    ]
    assert all(it.models[0].loaded for it in found)
    assert await discover(transport, [(server.port, "ollama")], hosts=()) == ()


async def test_our_own_port_is_only_ours_on_this_machine(
    transport: Transport, start: Callable[[Handler], Any]
) -> None:
    server = await start(listing(MODELS["models_ollama"]))
    ports: list[tuple[int, ServerKind]] = [(server.port, "ollama")]
    here = ("127.0.0.1", "localhost", "::1")
    assert await discover(transport, ports, hosts=here, own_port=server.port) == ()
    assert server.seen == []
    # Any other name may be another machine; this one is ours by chance, so that it answers.
    elsewhere = await discover(transport, ports, hosts=("0.0.0.0",), own_port=server.port)
    assert [it.base_url for it in elsewhere] == [f"http://0.0.0.0:{server.port}/v1"]


async def test_a_gateway_looks_where_the_settings_say(
    start: Callable[[Handler], Any], redis: RedisClient, settings: Settings
) -> None:
    server = await start(listing(MODELS["models_ollama"]))
    model = settings.model.model_copy(update={"search_hosts": ("localhost",)})
    named = settings.model_copy(update={"model": model})
    async with opened(redis, named, ports=[(server.port, "ollama")]) as gateway:
        (found,) = await gateway.discover()
    assert found.base_url == f"http://localhost:{server.port}/v1"


async def test_a_server_that_loads_is_found(
    transport: Transport, start: Callable[[Handler], Any]
) -> None:
    async def loading(request: web.Request) -> web.StreamResponse:
        return refuse(503, "Loading model")

    server = await start(loading)
    found = await discover(transport, [(server.port, "llamacpp")])
    assert found == (Server("llamacpp", server.base_url, (), loading=True),)


async def test_a_server_that_wants_a_key_is_found_and_named(
    start: Callable[[Handler], Any],
    redis: RedisClient,
    settings: Settings,
    at: Callable[..., Settings],
) -> None:
    async def locked(request: web.Request) -> web.StreamResponse:
        return refuse(401, "Invalid API Key", type="authentication_error")

    server = await start(locked)
    async with opened(redis, settings, ports=[(server.port, "llamacpp")]) as gateway:
        (found,) = await gateway.discover()
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at("", name="", api_key="sk-of-somebody-else"))
        report = await gateway.probe(at("", name="").model)
    assert found == Server("llamacpp", server.base_url, (), needs_key=True)
    assert caught.value.kind == "auth"
    assert server.base_url in caught.value.detail
    assert server.base_url in (report.refused or "")
    assert all("Authorization" not in seen.headers for seen in server.seen)


async def test_an_open_server_is_taken_before_one_that_wants_a_key(
    start: Callable[[Handler], Any],
    redis: RedisClient,
    settings: Settings,
    at: Callable[..., Settings],
) -> None:
    async def locked(request: web.Request) -> web.StreamResponse:
        return refuse(401, "Invalid API Key")

    closed, open_ = await start(locked), await start(listing(MODELS["models_ollama"]))
    ports = [(closed.port, "llamacpp"), (open_.port, "ollama")]
    async with opened(redis, settings, ports=ports) as gateway:
        assert (await gateway.resolve(at("", name="").model)).base_url == open_.base_url
        assert (await gateway.resolve(at("", name="x").model)).base_url == open_.base_url


async def test_only_the_port_where_our_web_server_listens_is_ours(
    start: Callable[[Handler], Any], redis: RedisClient, settings: Settings
) -> None:
    server = await start(listing(MODELS["models_ollama"]))
    usual = settings.server.model_copy(update={"port": server.port})
    moved = settings.model_copy(update={"server": usual})
    async with opened(redis, moved, ports=[(server.port, "ollama")]) as gateway:
        # Another program has our usual port: it may be a model server.
        write_address(moved.home, host="127.0.0.1", port=server.port + 1, url="")
        assert [it.base_url for it in await gateway.discover()] == [server.base_url]
        write_address(moved.home, host="127.0.0.1", port=server.port, url="")
        assert await gateway.discover() == ()


async def test_without_settings_the_first_chat_model_answers(
    start: Callable[[Handler], Any],
    redis: RedisClient,
    settings: Settings,
    at: Callable[..., Settings],
) -> None:
    embedder = await start(listing({"data": [{"id": "nomic-embed-text"}]}))
    chat = await start(listing({"data": [{"id": "bge-m3"}, {"id": "qwen3"}]}))
    ports = [(embedder.port, "ollama"), (chat.port, "vllm")]
    async with opened(redis, settings, ports=ports) as gateway:
        result = await ask(gateway, at("", name="", api_key="sk-of-somebody-else"))
        await ask(gateway, at("", name=""))
        named = await gateway.resolve(at("", name="nomic-embed-text").model)
    assert result.finish is not None
    assert (result.text, result.finish.model) == ("Hello", "qwen3")
    assert sum(seen.path == "/v1/models" for seen in chat.seen) == 2
    # A key for a configured server is no business of whoever listens on a usual port.
    assert all("Authorization" not in seen.headers for seen in chat.seen)
    assert named.base_url == embedder.base_url


async def test_only_embedding_models_is_no_model(
    start: Callable[[Handler], Any],
    redis: RedisClient,
    settings: Settings,
    at: Callable[..., Settings],
) -> None:
    server = await start(listing({"data": [{"id": "nomic-embed-text"}]}))
    async with opened(redis, settings, ports=[(server.port, "ollama")]) as gateway:
        with pytest.raises(ModelError) as caught:
            await ask(gateway, at("", name=""))
    assert caught.value.kind == "no_model"


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("", ""),
        ("http://127.0.0.1:1234", "http://127.0.0.1:1234/v1"),
        ("http://127.0.0.1:1234/", "http://127.0.0.1:1234/v1"),
        ("http://h/v1/chat/completions", "http://h/v1"),
        ("https://h/api/openai", "https://h/api/openai"),
    ],
)
def test_base_urls_are_completed(given: str, base: str) -> None:
    assert normal_base(given) == base


@pytest.mark.parametrize("data", [7, "x", {"x": 1}, {"data": 7}, {"error": "no"}])
def test_odd_model_lists_are_errors(data: Any) -> None:
    with pytest.raises(ModelError):
        parse_models(data)


def test_odd_entries_are_left_out() -> None:
    assert [info.id for info in parse_models([7, "", {"id": None}, {"name": "a"}])] == ["a"]
