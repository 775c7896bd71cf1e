"""OpenAI clients talk to /v1 unchanged."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import openai
import pytest
import yaml

from core.store.connection import connect
from tests.support.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]


def client(stack: Stack, *, key: str | None = None) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=key or stack.key, max_retries=0)


async def test_models(stack: Stack) -> None:
    async with client(stack) as ai:
        assert [model.id async for model in ai.models.list()] == ["assistant"]


async def test_an_answer_at_once_with_usage(stack: Stack) -> None:
    async with client(stack) as ai:
        answer = await ai.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": "bench:5"}]
        )
    assert answer.choices[0].finish_reason == "stop"
    assert len((answer.choices[0].message.content or "").split()) == 5
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


async def test_a_stream_with_tools_reasoning_and_usage(stack: Stack) -> None:
    texts: list[str] = []
    thoughts: list[str] = []
    usage = None
    async with client(stack) as ai:
        stream = await ai.chat.completions.create(
            model="assistant",
            messages=[{"role": "user", "content": "What time is it?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                texts.append(choice.delta.content or "")
                extra = choice.delta.model_extra or {}
                assert extra.get("reasoning") == extra.get("reasoning_content")
                thoughts.append(extra.get("reasoning") or "")
    assert "UTC" in "".join(texts)
    assert "".join(thoughts)
    assert usage is not None
    assert usage.completion_tokens > 0


async def test_a_stateless_client_sends_its_history(stack: Stack) -> None:
    async with client(stack) as ai:
        await ai.chat.completions.create(
            model="assistant",
            messages=[
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "an answer"},
                {"role": "user", "content": "bench:3"},
            ],
        )
    call = stack.model_calls()[-1]
    assert call["text"] == "bench:3"
    assert call["messages"] == 4  # one system message, and the three of the conversation
    async with stack.client() as http:
        listed = (await http.get("/api/threads")).json()["items"]
    assert all(thread["title"] != "bench:3" for thread in listed)


async def test_a_long_history_filled_redis_for_an_hour(stack: Stack) -> None:
    """What no model would be shown is not stored; instructions are."""
    turns = [
        {"role": role, "content": f"{n} " + "x" * 100_000}
        for n in range(60)
        for role in ("user", "assistant")
    ]
    messages = [{"role": "system", "content": "Be kind."}, *turns]
    redis = connect(stack.server.url)
    before = (await redis.info("memory"))["used_memory"]
    body = {"messages": [*messages, {"role": "user", "content": "bench:3"}]}
    async with stack.client() as http:
        answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert 95 <= int(answer.headers["x-history-left-out"]) <= 105
    assert stack.model_calls()[-1]["text"] == "bench:3"
    assert (await redis.info("memory"))["used_memory"] - before < 16 * 1024 * 1024
    await redis.aclose()


async def test_a_lasting_conversation_by_header(stack: Stack) -> None:
    async with stack.client() as http:
        thread = (await http.post("/api/threads", json={"title": "kept"})).json()["id"]
    async with client(stack) as ai:
        for text in ("bench:2", "bench:4"):
            raw = await ai.chat.completions.with_raw_response.create(
                model="assistant",
                messages=[{"role": "user", "content": text}],
                extra_headers={"X-Thread-Id": thread},
            )
            assert raw.headers["x-thread-id"] == thread
    async with stack.client() as http:
        messages = (await http.get(f"/api/threads/{thread}")).json()["messages"]
    assert [m["text"] for m in messages if m["role"] == "user"] == ["bench:2", "bench:4"]


async def test_errors_have_openais_shape(stack: Stack) -> None:
    async with client(stack, key="ak_wrong") as ai:
        with pytest.raises(openai.AuthenticationError):
            await ai.models.list()
    async with client(stack) as ai:
        with pytest.raises(openai.NotFoundError) as missing:
            await ai.chat.completions.create(
                model="gpt-9", messages=[{"role": "user", "content": "hi"}]
            )
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.UnprocessableEntityError):
            await ai.chat.completions.create(model="assistant", messages=[])
        with pytest.raises(openai.APIStatusError) as failed:
            await ai.chat.completions.create(
                model="assistant", messages=[{"role": "user", "content": "always error"}]
            )
        assert failed.value.status_code >= 500
        assert failed.value.message


async def test_the_llm_command(stack: Stack, tmp_path: Path) -> None:
    models = [
        {
            "model_id": "mine",
            "model_name": "assistant",
            "api_base": f"{stack.url}/v1",
            "api_key_name": "mine",
        }
    ]
    (tmp_path / "extra-openai-models.yaml").write_text(yaml.safe_dump(models))
    (tmp_path / "keys.json").write_text(f'{{"mine": "{stack.key}"}}')
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("llm"),
        *("-m", "mine", "bench:6"),
        env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    assert len(out.split()) == 6
