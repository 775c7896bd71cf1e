"""Raw chunks of any server → pieces. One ``ChunkReader`` per answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, cast

from core.events import Usage, scrub
from core.models.errors import ModelError, classify
from core.models.history import flatten
from core.models.wire.calls import MAX_CALLS, TOO_MANY, CallAssembler, dump
from core.models.wire.collector import Collector
from core.models.wire.dialects.base import Tools
from core.models.wire.dialects.grammar import GRAMMAR, Grammar
from core.models.wire.pieces import FinishReason, NoticePiece, Piece, ToolCallsPiece
from core.models.wire.splitter import Splitter
from core.models.wire.tools import fitted

MAX_ANSWER = 4 * 1024 * 1024
"""Characters after which an answer is cut off: a model that never stops must not fill the
memory."""

MAX_TOKENS = 1_000_000_000
"""No call has as many; a larger figure is no figure."""

CUT_CALL = (
    "The answer was cut off while the model was writing a tool call; nothing was run. Try again; "
    "if it keeps happening, raise model.max_tokens or the context size."
)

SHOWN_CALL = (
    "The answer holds what looks like a tool call, but it could not be read; nothing was run."
)

FINISH: dict[str, Literal["stop", "tool_calls", "length", "truncated", "error"]] = {
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "abort": "truncated",
    "cancelled": "truncated",
    "error": "error",
}
"""Finish reasons that are not "stop"; every other word (eos, end_turn, …) means stop."""


class ChunkReader:
    """Adds up one answer. ``finish_reason`` is None until the server names one; ``any_output``: the
    model wrote something, be it held back or half a tool call."""

    def __init__(
        self,
        tools: Tools,
        *,
        close_only: bool = False,
        secrets: tuple[str, ...] = (),
        grammar: Grammar = GRAMMAR,
    ) -> None:
        self.finish_reason: Literal["stop", "tool_calls", "length", "truncated", "error"] | None = (
            None
        )
        self.too_long = False
        self.any_chunk = False
        self.any_output = False
        self._out = Collector()
        self._splitter = Splitter(tools, self._out, close_only=close_only, grammar=grammar)
        self._grammar = grammar
        self._native = CallAssembler()
        self._tools = tools
        self._secrets = secrets
        self._prompt_tokens: int | None = None
        self._completion_tokens: int | None = None
        self._half_pair = ""
        self._written = 0

    @property
    def saw_close_only(self) -> bool:
        """The model ended its thinking with a ``</think>`` that it never opened."""
        return self._splitter.saw_close_only

    @property
    def reported_usage(self) -> Usage | None:
        """What the server reported, if it reported both figures and they can be true."""
        if not self._prompt_tokens or self._completion_tokens is None:
            return None
        if self._completion_tokens == 0 and self.any_output:
            return None
        return Usage(self._prompt_tokens, self._completion_tokens)

    @property
    def _too_many(self) -> bool:
        return self._native.too_many or len(self._splitter.calls) > MAX_CALLS

    @property
    def visible(self) -> str:
        """All visible text so far."""
        return self._out.visible

    @property
    def thought(self) -> str:
        """All thinking so far."""
        return self._out.thought

    @property
    def call_characters(self) -> int:
        """Characters of tool calls, also of those written as text."""
        return self._native.size + max(0, self._written - self._out.size)

    def add(self, chunk: dict[str, Any]) -> None:
        """Add one chunk. Raises ModelError where the chunk is an error."""
        # Once for each token: what JSON is made of has exactly these classes, and asking for one
        # is no call.
        self.any_chunk = True
        choices: Any = chunk.get("choices")
        if chunk.get("usage"):
            self._count(chunk["usage"])
        if not choices:
            if chunk.get("error") or (chunk.get("object") == "error"):
                raise self._error(chunk)
            return
        choice: Any = choices[0] if choices.__class__ is list else None
        if choice.__class__ is not dict:
            return
        delta: Any = choice.get("delta")
        if not delta and not self.any_output:
            # A whole message; behind deltas it repeats them.
            delta = choice.get("message")
        if delta.__class__ is dict:
            self._delta(delta)
        if reason := choice.get("finish_reason"):
            word = reason.lower() if reason.__class__ is str else "stop"
            self.finish_reason = FINISH.get(word, "stop")
            if self.finish_reason == "error":
                raise self._error(chunk)

    def _error(self, chunk: dict[str, Any]) -> ModelError:
        return classify(200, dump(chunk), secrets=self._secrets)

    def _delta(self, delta: dict[str, Any]) -> None:
        # vLLM and Ollama say "reasoning", LM Studio, llama.cpp, DeepSeek and SGLang
        # "reasoning_content".
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if not thought and (details := delta.get("reasoning_details")):
            thought = flatten(details)
        if thought and thought.__class__ is str:
            self._think(thought)
        content = delta.get("content")
        if content:
            if content.__class__ is str:
                self._feed(content)
            elif content.__class__ is list:
                self._parts(content)
        calls: Any = delta.get("tool_calls")
        if calls.__class__ is list:
            self._native.add(calls)
            self.any_output = self.any_output or bool(self._native)
        if self._written + self._native.size > MAX_ANSWER or self._too_many:
            self.too_long = True

    def _parts(self, parts: list[Any]) -> None:
        for part in parts:
            if not isinstance(part, dict):
                continue
            fields = cast("dict[str, Any]", part)
            text, thinking = fields.get("text"), fields.get("thinking")
            if isinstance(text, str):
                self._feed(text)
            elif thinking:
                self._think(flatten(thinking))

    def _feed(self, text: str) -> None:
        self.any_output = True
        self._written += len(text)
        self._splitter.feed(self._clean(text))

    def _think(self, text: str) -> None:
        self.any_output = True
        self._written += len(text)
        self._splitter.native_reasoning()
        self._out.reasoning(self._clean(text))

    def _clean(self, text: str) -> str:
        """Python servers cut an emoji between its two halves; join them, scrub what stays alone."""
        if text.isascii() and not self._half_pair:
            return text
        text = self._half_pair + text
        self._half_pair = ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half_pair = text[:-1], text[-1]
        return scrub(text)

    def _count(self, usage: Any) -> None:
        """The last figures win: vLLM and others repeat growing ones in every chunk."""
        if not isinstance(usage, dict):
            return
        fields = cast("dict[str, Any]", usage)
        prompt, completion = _figure(fields, "prompt"), _figure(fields, "completion")
        total = _figure(fields, "total")
        if prompt is not None:
            self._prompt_tokens = prompt
            if completion is None and total is not None and total >= prompt:
                completion = total - prompt
        if completion is not None:
            self._completion_tokens = completion

    def take(self) -> list[Piece]:
        """Pieces that came since the last time."""
        return self._out.take()

    def end(self) -> FinishReason:
        """The answer is over: flush what is held back, hand out the calls, say how it ended.

        Raises ModelError(truncated) when it ended inside a tool call: half a call is never run.
        """
        reason = "truncated" if self.too_long else (self.finish_reason or "truncated")
        complete = reason in ("stop", "tool_calls")
        self._finish_text(complete=complete)
        calls = self._calls(complete=complete)
        too_many = self._too_many or (calls is not None and len(calls.calls) > MAX_CALLS)
        if calls is not None:
            if too_many or not complete:
                raise ModelError("truncated", TOO_MANY if too_many else CUT_CALL)
            fit = tuple(fitted(call, self._tools) for call in calls.calls)
            self._out.put(replace(calls, calls=fit))
            return "tool_calls"
        if complete and (self._splitter.shown_call or self._grammar.opens(self._out.visible)):
            self._out.put(NoticePiece("warning", SHOWN_CALL))
        return "length" if reason == "length" else "truncated" if reason == "truncated" else "stop"

    def flush(self) -> None:
        """The stream broke: give out what is held back, except for half a tool call."""
        self._finish_text(complete=False)

    def _finish_text(self, *, complete: bool) -> None:
        if self._half_pair:
            self._half_pair = ""
            self._splitter.feed("\ufffd")
        self._splitter.finish(complete=complete)

    def _calls(self, *, complete: bool) -> ToolCallsPiece | None:
        """Native calls; else calls written as text; else calls written into the thinking."""
        if self._native:
            return self._native.result()
        text = self._splitter
        if text.calls or text.invalid or text.unfinished_call:
            return ToolCallsPiece(tuple(text.calls), tuple(text.invalid))
        if complete and self._tools and not self._out.visible.strip():
            calls, invalid = self._grammar.in_thinking(self._out.thought, self._tools)
            return ToolCallsPiece(tuple(calls), tuple(invalid)) if calls or invalid else None
        return None


def _figure(usage: dict[str, Any], name: str) -> int | None:
    """A number of tokens that a server may have counted."""
    value = usage.get(f"{name}_tokens")
    return (
        value if isinstance(value, int) and value is not True and 0 <= value < MAX_TOKENS else None
    )
