"""The gateway as a LangChain chat model."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from aiohttp import web
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool

from core.models.chat import LocalChatModel, tool_schemas
from core.models.errors import ModelError
from core.models.gateway import Gateway
from core.models.messages import to_openai
from core.settings.groups import Settings
from core.store.redis import RedisClient
from tests.support.gateways import opened
from tests.support.quirks_server import DONE, ModelServer, answer, chunk, serve

CALL = {
    "index": 0,
    "id": "c1",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}


@tool
def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"Sun in {city}"


async def reply(request: web.Request) -> web.StreamResponse:
    """Thinking and text, or a call where tools are offered."""
    used = {"prompt_tokens": 11, "completion_tokens": 5}
    body = await request.json()
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        return await answer(request, chunk({"tool_calls": [CALL]}), chunk({}, "tool_calls"), DONE)
    return await answer(
        request,
        chunk({"reasoning": "hm"}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop", usage=used),
        DONE,
    )


@pytest.fixture
async def scripted() -> Any:
    """A scripted server."""
    async with serve(reply) as it:
        yield it


@pytest.fixture
async def model(redis: RedisClient, at: Callable[..., Settings], scripted: ModelServer) -> Any:
    """A chat model at the scripted server."""
    async with opened(redis, at(scripted.base_url)) as gateway:
        yield LocalChatModel(gateway=gateway, user_id="u", thread_id="t")


async def test_invoke(model: LocalChatModel) -> None:
    message = await model.ainvoke("Hi")
    assert message.content == "Hello"
    assert message.additional_kwargs == {"reasoning_content": "hm"}
    assert message.response_metadata == {
        "model_provider": "local",
        "finish_reason": "stop",
        "model_name": "m",
    }
    assert message.usage_metadata == {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16}
    kinds = [block["type"] for block in message.content_blocks]
    assert kinds == ["reasoning", "text"]


async def test_stream(model: LocalChatModel) -> None:
    total: BaseMessage | None = None
    async for part in model.astream("Hi"):
        assert isinstance(part, AIMessageChunk)
        total = part if total is None else total + part
    assert isinstance(total, AIMessageChunk)
    assert (total.content, total.additional_kwargs["reasoning_content"]) == ("Hello", "hm")
    assert total.usage_metadata == {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16}


async def test_tools(model: LocalChatModel, scripted: ModelServer) -> None:
    bound = model.bind_tools([get_weather])
    asked = await bound.ainvoke("Weather in Paris?")
    assert asked.tool_calls == [
        {"name": "get_weather", "args": {"city": "Paris"}, "id": "c1", "type": "tool_call"}
    ]
    result = await get_weather.ainvoke(asked.tool_calls[0])
    said = await bound.ainvoke([HumanMessage("Weather in Paris?"), asked, result])
    assert said.content == "Hello"
    assert [message["role"] for message in scripted.bodies[-1]["messages"]] == [
        "user",
        "assistant",
        "tool",
    ]
    async for part in bound.astream("Weather in Paris?"):
        if isinstance(part, AIMessageChunk) and part.tool_calls:
            assert part.tool_calls[0]["args"] == {"city": "Paris"}
            break
    else:
        pytest.fail("no call was streamed")


async def test_it_only_works_asynchronously(model: LocalChatModel) -> None:
    with pytest.raises(NotImplementedError, match="ainvoke"):
        model.invoke("Hi")


async def test_stop_words_are_refused(model: LocalChatModel) -> None:
    with pytest.raises(ValueError, match="Stop words"):
        await model.ainvoke("Hi", stop=["x"])


async def test_errors_come_through(
    gateway: Gateway, redis: RedisClient, at: Callable[..., Settings], quirks: ModelServer
) -> None:
    async with opened(redis, at(f"{quirks.url}/lms_no_model/v1")) as broken:
        model = LocalChatModel(gateway=broken, user_id="u", thread_id="t")
        with pytest.raises(ModelError) as caught:
            await model.ainvoke("Hi")
    assert caught.value.kind == "no_model"


def test_schemas_of_tools() -> None:
    (schema,) = tool_schemas([get_weather])
    assert schema["function"]["name"] == "get_weather"
    assert schema["function"]["parameters"]["properties"]["city"]["type"] == "string"


def messages() -> Generator[tuple[BaseMessage, dict[str, Any]]]:
    """LangChain messages with what they are in OpenAI's form."""
    yield HumanMessage("U"), {"role": "user", "content": "U"}
    yield SystemMessage("S"), {"role": "system", "content": "S"}
    yield ChatMessage(role="developer", content="D"), {"role": "developer", "content": "D"}
    yield (
        ToolMessage("R", tool_call_id="1"),
        {"role": "tool", "tool_call_id": "1", "content": "R"},
    )
    yield (
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "A"}]),
        {"role": "assistant", "content": "A"},
    )
    image = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    yield (
        HumanMessage(["U", image]),
        {"role": "user", "content": [{"type": "text", "text": "U"}, url]},
    )


@pytest.mark.parametrize(("message", "expected"), list(messages()))
def test_messages(message: BaseMessage, expected: dict[str, Any]) -> None:
    assert to_openai([message]) == [expected]


def test_calls_and_broken_calls() -> None:
    message = AIMessage(
        "",
        tool_calls=[{"name": "f", "args": {"a": "ё"}, "id": "1"}],
        invalid_tool_calls=[{"name": "g", "args": '{"a', "id": "2", "error": "broken"}],
    )
    calls = to_openai([message])[0]["tool_calls"]
    assert [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls] == [
        ("1", "f", '{"a":"ё"}'),
        ("2", "g", "{}"),
    ]
