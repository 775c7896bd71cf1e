"""One model call from request to finish: waiting, retries, reading, fallback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

from core.events import Usage
from core.metrics import MODEL_ERRORS
from core.models.call_request import Fallback, Request, Timing
from core.models.errors import ModelError
from core.models.estimate import messages_tokens, text_tokens
from core.models.patience import WAITS, Patience
from core.models.recovery import Recovery
from core.models.reported import Reported, label
from core.models.request import Options, build, encode
from core.models.servers.capabilities import Capabilities, learned
from core.models.servers.servers import Servers, Target
from core.models.servers.windows import DEFAULT_CONTEXT, Windows
from core.models.simpler import NO_TOOLS_NOTICE, last_turn
from core.models.wire.chunks import ChunkReader
from core.models.wire.pieces import Finish, FinishReason, NoticePiece, Piece, UsagePiece
from core.models.wire.sse import Chunk
from core.models.wire.tools import known_tools
from core.models.wire.transport import AnswerStream, StaleConnection, Transport

SILENT_CUT_LEAST = 1000
"""No real context is smaller: a server that reports fewer prompt tokens counts in another way."""

FULL = 0.9
"""Share of the context from which a prompt leaves no room for an answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One attempt: what is asked of whom, and who adds the answer up."""

    target: Target
    known: Capabilities
    body: dict[str, Any]
    reader: ChunkReader
    reported: Reported


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
        self._patience = Patience(request.settings.model, timing)
        self._recovery = Recovery()
        self._plan: Plan | None = None
        self._opening: asyncio.Task[Reading] | None = None
        self._reading: Reading | None = None
        self._cloud: AsyncGenerator[list[Piece]] | None = None
        self._error: ModelError | None = None
        self._ended = False
        self._retried: set[str] = set()
        self._early_reason = False
        self._owed: tuple[str, ...] = ()

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
            self.usage = self._count(plan)

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
            self._patience.begin()
            self._opening = asyncio.create_task(self._send())
        limit = self._request.settings.model.first_byte_timeout
        await asyncio.wait({self._opening}, timeout=self._patience.next_wait(limit))
        if not self._opening.done():
            return self._patience.silence(limit)
        opening, self._opening = self._opening, None
        return opening.result()

    async def _send(self) -> Reading:
        await self._patience.pause()
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
        if model.tools != "auto":
            known = replace(known, tools=model.tools == "on")
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
        shorter = self._recovery.form.shorter
        body = build(last_turn(request.messages) if shorter else request.messages, options, known)
        reader = ChunkReader(
            known_tools(body.get("tools")),
            close_only=bool(known.close_only_think),
            secrets=(target.api_key,),
        )
        return Plan(target, known, body, reader, Reported())

    # ---- reading

    async def _read(self, reading: Reading) -> list[Piece]:
        stream, reader = reading.stream, reading.plan.reader
        model = self._request.settings.model
        while True:
            # The first chunk of many servers only names the role, long before the first token.
            begun = reader.any_output or reader.finish_reason
            limit = model.idle_timeout if begun else model.first_byte_timeout
            over = self._seems_over(reader)
            wait = self._timing.finish_grace if over else self._patience.next_wait(limit)
            try:
                chunks = await stream.read(wait)
            except (TimeoutError, ModelError) as error:
                broken = isinstance(error, ModelError)
                if reader.finish_reason and (broken or over or self._patience.is_over(limit)):
                    # The answer was complete; only the polite end is missing.
                    return await self._finish(reading)
                if broken:
                    raise
                if notices := self._patience.silence(limit):
                    return notices
                continue
            self._add(reading.plan, chunks)
            if stream.ended or reader.too_long:
                return await self._finish(reading)
            if pieces := reader.take():
                return self._with_notices(pieces)

    def _seems_over(self, reader: ChunkReader) -> bool:
        """Whether the finish reason is the last word. Some servers send one with their first chunk,
        or with every chunk: those are read to ``[DONE]``."""
        return bool(reader.finish_reason) and reader.any_output and not self._early_reason

    def _add(self, plan: Plan, chunks: list[Chunk]) -> None:
        self._patience.heard(chunk=bool(chunks))
        reader, reported = plan.reader, plan.reported
        for chunk in chunks:
            had_reason = reader.finish_reason is not None
            before = _size(reader) if had_reason else 0
            reader.add(chunk)
            reported.add(chunk)
            if had_reason and _size(reader) > before:
                self._early_reason = True

    async def _finish(self, reading: Reading) -> list[Piece]:
        plan, stream, reader = reading.plan, reading.stream, reading.plan.reader
        if not reader.any_chunk:
            raise ModelError(
                "garbage", "The model server sent an empty answer. Look at its log, then try again."
            )
        if reader.finish_reason is None and (stream.done or not stream.is_event_stream):
            # Not every server names a reason, but all of this one's answer is here.
            reader.finish_reason = "stop"
        reason = reader.end()
        await self._learn(plan)
        usage = self.usage = self._count(plan)
        pieces = reader.take()
        pieces = self._with_notices(pieces) + self._remarks(plan, reason, usage)
        pieces += [UsagePiece(usage), Finish(reason, usage, self._label(plan))]
        self._ended = True
        return pieces

    def _with_notices(self, pieces: list[Piece]) -> list[Piece]:
        """What the user should know of the form that was answered, before its answer."""
        notices, self._owed = self._owed, ()
        return [*(NoticePiece("warning", text) for text in notices), *pieces]

    def _label(self, plan: Plan) -> str:
        """The model that answered, by its own server's word; it may be another than the listed."""
        target, answered = plan.target, plan.reported.model
        another = target.found and answered not in ("", target.model)
        if another and self._servers.first_in_a_while(target, "answered by another"):
            self._servers.forget(self._request.settings.model)
        return label(answered or target.model)

    def _remarks(self, plan: Plan, reason: FinishReason, usage: Usage) -> list[Piece]:
        remarks: list[Piece] = []
        reader = plan.reader
        if reason in ("stop", "length", "truncated") and not reader.visible.strip():
            text = "The model gave an empty answer."
            if reader.thought.strip():
                text = "The model spent all it had on thinking and gave no answer."
                if reason == "length":
                    text += " Raise model.max_tokens or the context size."
            elif not usage.estimated and usage.prompt_tokens >= _context(plan.known) * FULL:
                text += " The conversation may fill all of its context: load it with a larger one."
            remarks.append(NoticePiece("warning", text))
        reported = 0 if usage.estimated else usage.prompt_tokens
        cut = SILENT_CUT_LEAST <= reported < self._request.estimate() / 2
        cut = cut and not self._recovery.form.shorter
        if cut:
            self._windows.ask_beside(plan.target)
        if cut and self._servers.first_in_a_while(plan.target, "cut"):
            text = (
                f"The server read only {usage.prompt_tokens} tokens of a much longer conversation. "
                "Give the model a larger context (Ollama: OLLAMA_CONTEXT_LENGTH)."
            )
            remarks.append(NoticePiece("warning", text))
        return remarks

    def _count(self, plan: Plan) -> Usage:
        """What the server reported, else an estimate."""
        if (reported := plan.reported.usage) is not None:
            return reported
        reader = plan.reader
        written = text_tokens(reader.thought) + text_tokens(reader.visible)
        written += reader.call_characters // 4
        return Usage(self._request.estimate(), written, estimated=True)

    async def _learn(self, plan: Plan) -> None:
        """Keep what made this call work."""
        changes: dict[str, Any] = dict(self._recovery.learnt())
        if plan.reader.saw_close_only and not plan.known.close_only_think:
            changes["close_only_think"] = True
        if changes:
            await self._servers.change(plan.target, lambda known: learned(known, **changes))
        if self._recovery.form.shorter:
            took = messages_tokens(last_turn(self._request.messages))
            await self._windows.refused(self._request.settings.model, took)
        if (reported := plan.reported.usage) is not None:
            await self._windows.took(plan.target, plan.known, reported.prompt_tokens)

    # ---- failing

    async def _failed(self, error: ModelError) -> list[Piece]:
        MODEL_ERRORS.labels("local", error.kind).inc()
        await self._drop_stream()
        plan = self._plan
        if plan is not None and plan.reader.any_output:
            # Never again from the start: the user has seen a part of it, or a tool was half called.
            self._error = error
            plan.reader.flush()
            self.usage = self._count(plan)
            return [*plan.reader.take(), UsagePiece(self.usage)]
        notices = await self._again(error)
        if notices is not None:
            return notices
        error = self._recovery.last_word(error)
        if self._fallback is not None:
            self._cloud = await self._fallback.start(self._request, error)
        if self._cloud is None:
            raise error
        return []

    async def _again(self, error: ModelError) -> list[Piece] | None:
        """Prepare another attempt and say what the user should know; None: give up."""
        if error.kind in WAITS:
            return self._patience.wait_for(error.kind)
        plan = self._plan
        if plan is None:
            return None
        if isinstance(error, StaleConnection):
            return [] if self._first_time("stale") else None
        if error.kind in ("unreachable", "no_model") and plan.target.found:
            self._servers.forget(self._request.settings.model)
            return [] if self._first_time("found") else None
        if error.kind == "no_model" and "unload" in error.said.lower():
            # It went to sleep between the list and the question; the next question wakes it.
            return [] if self._first_time("unloaded") else None
        if error.context_window:
            model = self._request.settings.model
            await self._windows.named(model, plan.target, error.context_window)
            return None
        if self._recovery.adapt(error, plan.body, plan.known):
            return [NoticePiece("warning", NO_TOOLS_NOTICE)] if error.kind == "no_tools" else []
        if self._recovery.simplify(error, self._request.messages, plan.body, plan.known):
            self._owed = self._recovery.form.notices
            return []
        return None

    def _first_time(self, what: str) -> bool:
        if what in self._retried:
            return False
        self._retried.add(what)
        return True


def _extra(request: Request, known: Capabilities) -> dict[str, Any] | None:
    if request.response_format is None or known.json_schema is False:
        return None
    return {"response_format": request.response_format}


def _context(known: Capabilities) -> int:
    return known.context_limit or known.context_window or DEFAULT_CONTEXT


def _size(reader: ChunkReader) -> int:
    """Characters of the answer so far."""
    return len(reader.visible) + len(reader.thought) + reader.call_characters
