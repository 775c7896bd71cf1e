"""Test connection: measures what a model server can do, step by step, within half a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from core.models.errors import ModelError
from core.models.patience import WAITS
from core.models.recovery import Recovery
from core.models.request import Options, build, encode
from core.models.servers.capabilities import DEFAULT, Capabilities
from core.models.servers.catalog import ModelInfo, choose, list_models, normal_base, server_kind
from core.models.servers.context import served_context
from core.models.wire.calls import read_arguments
from core.models.wire.chunks import ChunkReader
from core.models.wire.pieces import ModelAnswer
from core.models.wire.tools import known_tools
from core.models.wire.transport import Transport
from core.settings.groups import ModelSettings

TOTAL_SECONDS = 30.0
LIST_SECONDS = 4.0
FIRST_ANSWER_SECONDS = 20.0
"""The first answer may have to wait until the server has loaded the model."""
ANSWER_SECONDS = 8.0
LOADING_PAUSE = 1.0
ENOUGH_CONTEXT = 8192
MAX_TOKENS = 512
RETRIES = 4

READY = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "Reply with the single word: ready"},
]
CALL = [{"role": "user", "content": "What is the weather in Paris? Use the tool get_weather."}]
COLOUR = [{"role": "user", "content": 'Name a colour as JSON, like {"colour": "red"}.'}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
COLOUR_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "colour",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"colour": {"type": "string"}},
            "required": ["colour"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement; ``ok`` is None where it could not be made."""

    name: str
    ok: bool | None
    detail: str
    ms: int
    code: str = ""
    """The kind of the error that it met, if any."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What was found. ``refused`` says why this server cannot be used, if it cannot."""

    base_url: str
    model: str
    kind: str
    models: tuple[ModelInfo, ...]
    steps: tuple[Step, ...]
    capabilities: Capabilities
    refused: str | None
    refused_code: str = ""
    """The kind of the error behind ``refused``."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(slots=True)
class _Heard:
    """One answer of the model under test."""

    answer: ModelAnswer
    streamed: bool
    usage_reported: bool
    close_only: bool


@dataclass(slots=True)
class Probe:
    """Runs the steps; one per test."""

    transport: Transport
    settings: ModelSettings
    total: float = TOTAL_SECONDS
    base_url: str = ""
    model: str = ""
    known: Capabilities = DEFAULT
    models: tuple[ModelInfo, ...] = ()
    steps: list[Step] = field(default_factory=list[Step])
    deadline: float = 0

    async def run(self) -> ProbeReport:
        """All steps. Never raises for what the server does."""
        self.deadline = time.monotonic() + self.total
        self.base_url, self.model = normal_base(self.settings.base_url), self.settings.name
        self.known = Capabilities(source="probed", stream_usage=True)
        refused: ModelError | None = None
        try:
            await self._list()
            await self._chat()
            await self._tools()
            await self._json()
            await self._context()
        except ModelError as error:
            refused = error
        self.known = replace(self.known, at=datetime.now(UTC).isoformat())
        return ProbeReport(
            self.base_url,
            self.model,
            server_kind(self.models),
            self.models,
            tuple(self.steps),
            self.known,
            refused.detail if refused else None,
            refused.kind if refused else "",
        )

    def _note(self, name: str, ok: bool | None, found: str | ModelError, since: float) -> None:
        detail, code = (found, "") if isinstance(found, str) else (found.detail, found.kind)
        ms = round((time.monotonic() - since) * 1000)
        self.steps.append(Step(name, ok, detail, ms, code))

    def _left(self, most: float) -> float:
        return max(0.05, min(most, self.deadline - time.monotonic()))

    # ---- reachability, model list

    async def _list(self) -> None:
        start = time.monotonic()
        if not self.base_url:
            raise ModelError("unreachable", "No base URL is set, and no server was found.")
        try:
            self.models = await self._listed()
        except ModelError as error:
            if error.kind in ("unreachable", "auth", "stalled", *WAITS) or not self.model:
                self._note("reach", False, error, start)
                raise
            # It answers, but has no list: the configured name may work all the same.
            self._note("reach", True, "The server answers.", start)
            self._note("models", None, error, start)
            return
        self._note("reach", True, f"The server answers ({server_kind(self.models)}).", start)
        self._pick(start)

    async def _listed(self) -> tuple[ModelInfo, ...]:
        key = self.settings.api_key.get_secret_value()
        while True:
            try:
                return await list_models(
                    self.transport, self.base_url, api_key=key, seconds=self._left(LIST_SECONDS)
                )
            except ModelError as error:
                if error.kind not in WAITS or self._left(self.total) < LOADING_PAUSE * 2:
                    raise
                await asyncio.sleep(LOADING_PAUSE)

    def _pick(self, start: float) -> None:
        ids = [info.id for info in self.models]
        if self.model:
            listed = self.model in ids
            detail = f"{self.model} is there." if listed else f"{self.model} is not in its list."
            self._note("models", listed or None, f"{len(ids)} models; {detail}", start)
            return
        chosen = choose(self.models)
        if chosen is None:
            error = ModelError("no_model", "The server has no chat model; load or download one.")
            self._note("models", False, error, start)
            raise error
        self.model = chosen.id
        self._note("models", True, f"{len(ids)} models; using {chosen.id}.", start)

    # ---- the model

    async def _chat(self) -> None:
        start = time.monotonic()
        try:
            heard = await self._ask(READY, FIRST_ANSWER_SECONDS)
        except ModelError as error:
            self._note("chat", False, error, start)
            raise
        thinks = bool(heard.answer.reasoning)
        self.known = replace(
            self.known,
            streaming=heard.streamed,
            system_role=self.known.system_role is not False,
            stream_usage=heard.streamed and heard.usage_reported,
            reasoning=thinks,
            close_only_think=heard.close_only,
        )
        said = heard.answer.text.strip()[:60] or "(no text)"
        self._note("chat", True, f"It says: {said}", start)
        how = "It streams." if heard.streamed else "It does not stream; answers come in one piece."
        self._note("streaming", heard.streamed, how, start)
        self._note(
            "reasoning", thinks, "It thinks aloud." if thinks else "It does not think.", start
        )

    async def _tools(self) -> None:
        start = time.monotonic()
        try:
            heard = await self._ask(CALL, ANSWER_SECONDS, tools=[WEATHER], tool_choice="required")
        except ModelError as error:
            if error.kind == "no_tools":
                self.known = replace(self.known, tools=False)
            self._note("tools", False if error.kind == "no_tools" else None, error, start)
            return
        called = bool(heard.answer.calls)
        choice = "tool_choice" not in self.known.refused_parameters
        self.known = replace(self.known, tools=True, tool_choice=choice)
        detail = "It calls tools." if called else "The server takes tools; the model called none."
        self._note("tools", called, detail, start)

    async def _json(self) -> None:
        start = time.monotonic()
        try:
            heard = await self._ask(COLOUR, ANSWER_SECONDS, response_format=COLOUR_FORMAT)
        except ModelError as error:
            self._note("json", None, error, start)
            return
        refused = "response_format" in self.known.refused_parameters
        parsed = read_arguments(heard.answer.text.strip()) if heard.answer.text.strip() else None
        good = not refused and parsed is not None
        self.known = replace(self.known, json_schema=good)
        detail = "It keeps to a JSON schema." if good else "It does not keep to a JSON schema."
        self._note("json", good, detail, start)

    async def _context(self) -> None:
        start = time.monotonic()
        size: int | None = None
        try:
            async with asyncio.timeout(self._left(LIST_SECONDS)):
                size = await served_context(
                    self.transport,
                    self.base_url,
                    self.model,
                    kind=server_kind(self.models),
                    models=self.models,
                    api_key=self.settings.api_key.get_secret_value(),
                )
        except TimeoutError:
            pass
        self.known = replace(self.known, context_window=size)
        if size is None:
            self._note("context", None, "The server does not say; 8192 tokens are assumed.", start)
        elif size < ENOUGH_CONTEXT:
            detail = f"{size} tokens; load the model with {ENOUGH_CONTEXT} or more."
            self._note("context", False, detail, start)
        else:
            self._note("context", True, f"{size} tokens.", start)

    # ---- one request

    async def _ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        most: float,
        *,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | None = None,
        response_format: dict[str, Any] | None = None,
    ) -> _Heard:
        """Ask, and leave out what the server refuses. Raises ModelError."""
        recovery = Recovery()
        until = time.monotonic() + self._left(most)
        extra = {"response_format": response_format} if response_format else None
        options = Options(self.model, tools, tool_choice, MAX_TOKENS, None, extra)
        for attempt in range(RETRIES):
            body = build(messages, options, self.known)
            try:
                async with asyncio.timeout(max(0.05, until - time.monotonic())):
                    return await self._once(body)
            except TimeoutError as error:
                raise ModelError("stalled", f"No answer within {most:g} s.") from error
            except ModelError as error:
                if error.kind in WAITS and until - time.monotonic() > LOADING_PAUSE:
                    await asyncio.sleep(LOADING_PAUSE)
                    continue
                last = attempt == RETRIES - 1 or error.kind == "no_tools"
                if last or not recovery.adapt(error, body, self.known):
                    raise
                self.known = replace(self.known, **recovery.changes)
        raise ModelError("other")

    async def _once(self, body: dict[str, Any]) -> _Heard:
        key = self.settings.api_key.get_secret_value()
        reader = ChunkReader(known_tools(body.get("tools")), secrets=(key,))
        url = f"{self.base_url}/chat/completions"
        stream = await self.transport.post_stream(url, encode(body), api_key=key)
        try:
            while not stream.ended:
                for chunk in await stream.read(self._left(self.total)):
                    reader.add(chunk)
            if not reader.any_chunk:
                raise ModelError("garbage", "The model server sent an empty answer.")
            if reader.finish_reason == "length":
                # Long thinking is no failure of the test: what matters is what came.
                reader.finish_reason = "stop"
            reader.end()
        finally:
            await stream.aclose()
        return _Heard(
            ModelAnswer().add(reader.take()),
            stream.is_event_stream,
            reader.reported_usage is not None,
            reader.saw_close_only,
        )


async def probe(
    transport: Transport, settings: ModelSettings, *, total: float = TOTAL_SECONDS
) -> ProbeReport:
    """Test a model server."""
    return await Probe(transport, settings, total).run()


def not_found(error: ModelError) -> ProbeReport:
    """The report where there is no server to test."""
    step = Step("reach", False, error.detail, 0, error.kind)
    return ProbeReport("", "", "openai", (), (step,), DEFAULT, error.detail, error.kind)
