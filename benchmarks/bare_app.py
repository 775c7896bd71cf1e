"""The yardstick: the app that LangGraph's and FastAPI's first pages lead to, in 40 lines."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncGenerator
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel, SecretStr


class Message(BaseModel):
    """Body of POST /chat."""

    thread_id: str
    text: str


def create_app(base_url: str) -> FastAPI:
    """One node that asks the model; the answer streams as server-sent events."""
    model = ChatOpenAI(base_url=base_url, api_key=SecretStr("none"), model="scripted-demo")

    async def assistant(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node("assistant", assistant)
    graph: Any = builder.add_edge(START, "assistant").compile(checkpointer=InMemorySaver())
    app = FastAPI()

    @app.post("/chat")
    async def chat(message: Message) -> StreamingResponse:
        """Answer a message."""
        config: RunnableConfig = {"configurable": {"thread_id": message.thread_id}}
        asked = {"messages": [{"role": "user", "content": message.text}]}

        async def frames() -> AsyncGenerator[str]:
            async for piece, _ in graph.astream(asked, config, stream_mode="messages"):
                yield f"data: {json.dumps({'text': piece.content})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(frames(), media_type="text/event-stream")

    return app


if __name__ == "__main__":
    server = uvicorn.Server(uvicorn.Config(create_app(sys.argv[1]), log_level="warning"))
    server.run([socket.socket(fileno=int(sys.argv[2]))])
