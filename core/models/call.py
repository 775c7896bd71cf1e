"""One model call from request to finish: waiting, retries, reading, fallback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from core.events import Usage
from core.metrics import MODEL_ERRORS
from core.models.errors import ModelError
from core.models.estimate import messages_tokens, text_tokens, tools_tokens
from core.models.recovery import NO_TOOLS_NOTICE, Recovery
from core.models.request import Options, build, encode
from core.models.servers.capabilities import Capabilities, learned
from core.models.servers.servers import Servers, Target
from core.models.servers.windows import Windows
from core.models.wire.chunks import ChunkReader
from core.models.wire.pieces import Finish, FinishReason, NoticePiece, Piece, UsagePiece
from core.models.wire.sse import Chunk
from core.models.wire.tooltext import known_tools
from core.models.wire.transport import AnswerStream, StaleConnection, Transport
from core.settings.groups import Settings

SILENT_CUT_LEAST = 1000
"""No real context is smaller: a server that reports fewer prompt tokens counts in another way."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how long silence lasts before the user is told, what to wait after a finish reason
    for the usage, pauses while a model loads, and how often the user hears of the loading."""

    notice_after: float = 10
    finish_grace: float = 3
    backoff: tuple[float, ...] = (0.5, 1, 2, 4, 5)
    loading_notice_every: float = 30


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller wants."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None
    settings: Settings
    user_id: str
    thread_id: str
    tool_choice: str | None = None
    max_tokens: int | None = None
    response_format: Mapping[str, Any] | None = None

    def estimate(self) -> int:
        """Tokens of the prompt."""
        return messages_tokens(self.messages) + tools_tokens(self.tools)


class Fallback(Protocol):
    """The cloud, if the user switched it on."""

    async def start(
        self, request: Request, failed: ModelError
    ) -> AsyncGenerator[list[Piece]] | None:
        """The cloud's answer, or None when it may not or cannot be asked."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """One attempt: what is asked of whom, and who adds the answer up."""

    target: Target
    known: Capabilities
    body: dict[str, Any]
    reader: ChunkReader


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer that has begun."""

    plan: Plan
    stream: AnswerStream


class Call:
    """A state machine: each ``next`` gives what one network read (or one wait) brought, None at the
    end."""

    def __init__(
        self,
        request: Request,
        *,
        servers: Servers,
        windows: Windows,
        transport: Transport,
        timing: Timing,
        fallback: Fallback | None,
    ) -> None:
        self.usage: Usage | None = None
        self.in_cloud = False
        self._request = request
        self._servers = servers
        self._windows = windows
        self._transport = transport
        self._timing = timing
        self._fallback = fallback
        self._now = asyncio.get_running_loop().time
        self._recovery = Recovery()
        self._plan: Plan | None = None
        self._opening: asyncio.Task[Reading] | None = None
        self._reading: Reading | None = None
        self._cloud: AsyncGenerator[list[Piece]] | None = None
        self._error: ModelError | None = None
        self._ended = False
        self._retried: set[str] = set()
        self._heard_at = 0.0
        self._chunk_at = 0.0
        self._tell_at = 0.0
        self._tell_every = timing.notice_after
        self._loading_since: float | None = None
        self._loading_told = 0.0
        self._loading_tries = 0

    async def next(self) -> list[Piece] | None:
        """The next pieces. Raises ModelError, after all that came before it was handed out."""
        if self._error is not None:
            raise self._error
        if self._ended:
            return None
        if self._cloud is not None:
            return await self._next_of_cloud(self._cloud)
        try:
            if self._reading is None:
                opened = await self._open()
                if isinstance(opened, list):
                    return opened
                self._reading = opened
            return await self._read(self._reading)
        except ModelError as error:
            return await self._failed(error)

    async def aclose(self) -> None:
        """Let go of the connection at once, whatever state the call is in."""
        self._ended = True
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait({opening})
            if not opening.cancelled() and opening.exception() is None:
                self._reading = opening.result()
        await self._drop_stream()
        if self._cloud is not None:
            await self._cloud.aclose()
        plan = self._plan
        if self.usage is None and plan is not None and plan.reader.any_output:
            self.usage = self._count(plan.reader)

    async def _drop_stream(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            await reading.stream.aclose()

    async def _next_of_cloud(self, cloud: AsyncGenerator[list[Piece]]) -> list[Piece] | None:
        pieces = await anext(cloud, None)
        for piece in pieces or ():
            if isinstance(piece, UsagePiece):
                self.usage, self.in_cloud = piece.usage, True
        return pieces

    # ---- asking

    async def _open(self) -> list[Piece] | Reading:
        """Wait for the headers; pieces are notices while that takes long."""
        if self._opening is None:
            self._reset_silence()
            self._opening = asyncio.create_task(self._send())
        limit = self._request.settings.model.first_byte_timeout
        await asyncio.wait({self._opening}, timeout=self._next_wait(limit))
        if not self._opening.done():
            return self._silence(limit)
        opening, self._opening = self._opening, None
        return opening.result()

    async def _send(self) -> Reading:
        if self._loading_tries:
            pauses = self._timing.backoff
            await asyncio.sleep(pauses[min(self._loading_tries, len(pauses)) - 1])
            self._reset_silence()
        plan = self._plan = await self._make_plan()
        stream = await self._transport.post_stream(
            f"{plan.target.base_url}/chat/completions",
            encode(plan.body),
            api_key=plan.target.api_key,
        )
        return Reading(plan, stream)

    async def _make_plan(self) -> Plan:
        request, model = self._request, self._request.settings.model
        target = await self._servers.resolve(model)
        known = await self._servers.known(target)
        if self._recovery.changes:
            known = replace(known, **self._recovery.changes)
        options = Options(
            model=target.model,
            tools=request.tools,
            tool_choice=request.tool_choice,
            max_tokens=model.max_tokens if request.max_tokens is None else request.max_tokens,
            temperature=model.temperature,
            extra=_extra(request, known),
        )
        body = build(request.messages, options, known)
        reader = ChunkReader(
            known_tools(body.get("tools")),
            close_only=bool(known.close_only_think),
            secrets=(target.api_key,),
        )
        return Plan(target, known, body, reader)

    # ---- reading

    async def _read(self, reading: Reading) -> list[Piece]:
        stream, reader = reading.stream, reading.plan.reader
        model = self._request.settings.model
        while True:
            limit = model.idle_timeout if reader.any_chunk else model.first_byte_timeout
            wait = self._timing.finish_grace if reader.finish_reason else self._next_wait(limit)
            try:
                chunks = await stream.read(wait)
            except (TimeoutError, ModelError) as error:
                if reader.finish_reason:
                    # The answer was complete; only the polite end is missing.
                    return await self._finish(reading.plan)
                if isinstance(error, ModelError):
                    raise
                if notices := self._silence(limit):
                    return notices
                continue
            self._add(reader, chunks)
            if stream.ended or reader.too_long:
                return await self._finish(reading.plan)
            if pieces := reader.take():
                return pieces

    def _add(self, reader: ChunkReader, chunks: list[Chunk]) -> None:
        self._heard_at = self._now()
        if chunks:
            self._reset_silence()
        for chunk in chunks:
            reader.add(chunk)

    def _reset_silence(self) -> None:
        self._heard_at = self._chunk_at = self._now()
        self._tell_every = self._timing.notice_after
        self._tell_at = self._heard_at + self._tell_every

    def _next_wait(self, limit: float) -> float:
        return max(0.001, min(self._tell_at, self._heard_at + limit) - self._now())

    def _silence(self, limit: float) -> list[Piece]:
        """Nothing came for a while: tell the user, more and more rarely, or give up.

        Comments of the server are signs of life, but no answer. Raises ModelError(stalled).
        """
        now = self._now()
        if now - self._heard_at >= limit:
            raise ModelError(
                "stalled",
                f"The model sent nothing for {limit:g} s. Look at the model server, then try "
                "again.",
            )
        if now < self._tell_at:
            return []
        self._tell_every *= 2
        self._tell_at = now + self._tell_every
        seconds = now - self._chunk_at
        return [NoticePiece("info", f"Still waiting for the model … ({seconds:.0f} s)")]

    async def _finish(self, plan: Plan) -> list[Piece]:
        reader = plan.reader
        if not reader.any_chunk:
            raise ModelError(
                "garbage", "The model server sent an empty answer. Look at its log, then try again."
            )
        reason = reader.end()
        await self._learn(plan)
        usage = self.usage = self._count(reader)
        pieces = reader.take()
        pieces += self._remarks(plan, reason, usage)
        pieces += [UsagePiece(usage), Finish(reason, usage, plan.target.model)]
        self._ended = True
        return pieces

    def _remarks(self, plan: Plan, reason: FinishReason, usage: Usage) -> list[Piece]:
        remarks: list[Piece] = []
        reader = plan.reader
        if reason in ("stop", "length", "truncated") and not reader.visible.strip():
            text = "The model gave an empty answer."
            if reader.thought.strip():
                text = "The model spent all it had on thinking and gave no answer."
                if reason == "length":
                    text += " Raise model.max_tokens or the context size."
            remarks.append(NoticePiece("warning", text))
        reported = 0 if usage.estimated else usage.prompt_tokens
        cut = SILENT_CUT_LEAST <= reported < self._request.estimate() / 2
        if cut:
            self._windows.ask_beside(plan.target)
        if cut and self._servers.first_in_a_while(plan.target, "cut"):
            text = (
                f"The server read only {usage.prompt_tokens} tokens of a much longer conversation. "
                "Give the model a larger context (Ollama: OLLAMA_CONTEXT_LENGTH)."
            )
            remarks.append(NoticePiece("warning", text))
        return remarks

    def _count(self, reader: ChunkReader) -> Usage:
        """What the server reported, else an estimate."""
        if (reported := reader.reported_usage) is not None:
            return reported
        written = text_tokens(reader.thought) + text_tokens(reader.visible)
        written += reader.call_characters // 4
        return Usage(self._request.estimate(), written, estimated=True)

    async def _learn(self, plan: Plan) -> None:
        """Keep what made this call work."""
        changes: dict[str, Any] = dict(self._recovery.changes)
        if plan.reader.saw_close_only and not plan.known.close_only_think:
            changes["close_only_think"] = True
        if changes:
            await self._servers.change(plan.target, lambda known: learned(known, **changes))
        if (reported := plan.reader.reported_usage) is not None:
            await self._windows.took(plan.target, plan.known, reported.prompt_tokens)

    # ---- failing

    async def _failed(self, error: ModelError) -> list[Piece]:
        MODEL_ERRORS.labels("local", error.kind).inc()
        await self._drop_stream()
        reader = self._plan.reader if self._plan is not None else None
        if reader is not None and reader.any_output:
            # Never again from the start: the user has seen a part of it, or a tool was half called.
            self._error = error
            reader.flush()
            self.usage = self._count(reader)
            return [*reader.take(), UsagePiece(self.usage)]
        notices = await self._again(error)
        if notices is not None:
            return notices
        if self._fallback is not None:
            self._cloud = await self._fallback.start(self._request, error)
        if self._cloud is None:
            raise error
        return []

    async def _again(self, error: ModelError) -> list[Piece] | None:
        """Prepare another attempt and say what the user should know; None: give up."""
        if error.kind == "loading":
            return self._wait_for_loading()
        plan = self._plan
        if plan is None:
            return None
        if isinstance(error, StaleConnection):
            return [] if self._first_time("stale") else None
        if error.kind in ("unreachable", "no_model") and plan.target.found:
            self._servers.forget(self._request.settings.model)
            return [] if self._first_time("found") else None
        if error.context_window:
            model = self._request.settings.model
            await self._windows.named(model, plan.target, error.context_window)
            return None
        if self._recovery.adapt(error, plan.body, plan.known):
            return [NoticePiece("warning", NO_TOOLS_NOTICE)] if error.kind == "no_tools" else []
        return None

    def _first_time(self, what: str) -> bool:
        if what in self._retried:
            return False
        self._retried.add(what)
        return True

    def _wait_for_loading(self) -> list[Piece] | None:
        now = self._now()
        if self._loading_since is None:
            self._loading_since, self._loading_told = now, float("-inf")
        waited = now - self._loading_since
        if waited >= self._request.settings.model.loading_timeout:
            return None
        self._loading_tries += 1
        if now - self._loading_told < self._timing.loading_notice_every:
            return []
        self._loading_told = now
        since = f" ({waited:.0f} s)" if waited >= 1 else ""
        return [NoticePiece("info", f"The model is loading …{since}")]


def _extra(request: Request, known: Capabilities) -> dict[str, Any] | None:
    if request.response_format is None or known.json_schema is False:
        return None
    return {"response_format": request.response_format}
