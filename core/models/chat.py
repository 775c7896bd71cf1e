"""The gateway as a LangChain chat model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from core.events import Usage
from core.models.gateway import Gateway
from core.models.messages import to_openai
from core.models.wire.calls import dump
from core.models.wire.pieces import ModelAnswer, Piece

PROVIDER = "local"
"""Not "openai": LangChain would read messages with its OpenAI rules, which hide thinking."""

SYNC = "The local model only works asynchronously: use ainvoke or astream."

ToolLike = dict[str, Any] | type | Callable[..., Any] | BaseTool


class LocalChatModel(BaseChatModel):
    """A chat model on top of the gateway; settings are read at each call.

    Thinking is in ``additional_kwargs["reasoning_content"]``. Errors are ``ModelError``.
    """

    gateway: Gateway = Field(exclude=True)
    user_id: str
    thread_id: str
    max_tokens: int | None = None

    @property
    def _llm_type(self) -> str:
        return "local"

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools; ``tool_choice`` is auto, none, required (or any), or the name of a tool."""
        return cast(
            "Runnable[LanguageModelInput, AIMessage]",
            self.bind(tools=tool_schemas(tools), tool_choice=tool_choice, **kwargs),
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError(SYNC)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = ModelAnswer()
        async with aclosing(self._pieces(messages, stop, **kwargs)) as stream:
            async for pieces in stream:
                answer.add(pieces)
        return ChatResult(generations=[ChatGeneration(message=to_message(answer))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self._pieces(messages, stop, **kwargs)) as stream:
            async for pieces in stream:
                chunk = ChatGenerationChunk(message=to_chunk(ModelAnswer().add(pieces)))
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _pieces(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        *,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | None = None,
        max_tokens: int | None = None,
        response_format: dict[str, Any] | None = None,
    ) -> AsyncGenerator[list[Piece]]:
        if stop:
            raise ValueError(
                "Stop words are not supported: many local servers ignore or refuse them."
            )
        return self.gateway.stream(
            to_openai(messages),
            tools,
            settings=self.gateway.settings,
            user_id=self.user_id,
            thread_id=self.thread_id,
            tool_choice=tool_choice,
            max_tokens=max_tokens or self.max_tokens,
            response_format=response_format,
        )


def tool_schemas(tools: Sequence[ToolLike]) -> list[dict[str, Any]]:
    """Tools in OpenAI's form. Costs milliseconds: call it once per set of tools."""
    return [convert_to_openai_tool(tool) for tool in tools]


def to_message(answer: ModelAnswer) -> AIMessage:
    """A whole answer as a message."""
    return AIMessage(
        content=answer.text,
        additional_kwargs=_extra(answer),
        response_metadata=_metadata(answer),
        usage_metadata=usage_metadata(answer.usage),
        tool_calls=[
            {"name": call.name, "args": call.arguments, "id": call.id, "type": "tool_call"}
            for call in answer.calls
        ],
        invalid_tool_calls=[
            {
                "name": bad.name,
                "args": bad.raw,
                "id": bad.id,
                "error": bad.error,
                "type": "invalid_tool_call",
            }
            for bad in answer.invalid
        ],
    )


def to_chunk(answer: ModelAnswer) -> AIMessageChunk:
    """What one network read brought as a chunk of a message."""
    return AIMessageChunk(
        content=answer.text,
        additional_kwargs=_extra(answer),
        response_metadata=_metadata(answer),
        usage_metadata=usage_metadata(answer.usage),
        tool_call_chunks=[
            {
                "name": call.name,
                "args": dump(call.arguments),
                "id": call.id,
                "index": index,
                "type": "tool_call_chunk",
            }
            for index, call in enumerate(answer.calls)
        ],
        chunk_position="last" if answer.finish else None,
    )


def usage_metadata(usage: Usage | None) -> UsageMetadata | None:
    """Token counts as LangChain has them."""
    if usage is None:
        return None
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )


def _extra(answer: ModelAnswer) -> dict[str, Any]:
    return {"reasoning_content": answer.reasoning} if answer.reasoning else {}


def _metadata(answer: ModelAnswer) -> dict[str, Any]:
    metadata: dict[str, Any] = {"model_provider": PROVIDER}
    if answer.finish is not None:
        metadata |= {"finish_reason": answer.finish.reason, "model_name": answer.finish.model}
    return metadata
