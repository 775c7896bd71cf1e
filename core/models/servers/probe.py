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
from core.models.request import Options, build
from core.models.servers.capabilities import DEFAULT, Capabilities
from core.models.servers.catalog import ModelInfo, choose, list_models, normal_base, server_kind
from core.models.servers.context import served_context
from core.models.servers.hearing import ANSWER_SECONDS, UNREADABLE, Heard, hear
from core.models.servers.questions import CALL, COLOUR, COLOUR_FORMAT, PLAIN, READY, WEATHER
from core.models.wire.calls import read_arguments
from core.models.wire.transport import StaleConnection, Transport
from core.settings.groups import ModelSettings

TOTAL_SECONDS = 30.0
LIST_SECONDS = 4.0
FIRST_ANSWER_SECONDS = 27.0
"""To the first token: the server may have to load the model, or be busy with another answer."""
LOADING_PAUSE = 1.0
ENOUGH_CONTEXT = 8192
MAX_TOKENS = 512
RETRIES = 6
SILENT = (
    "No answer within {seconds:.0f} s. The model server is there, but the model has not begun to "
    "write; it may be busy with another answer. Try again in a while."
)


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
        except UNREADABLE:
            refused = ModelError("garbage")
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
        choice = "tool_choice" not in self.known.refused_parameters
        self.known = replace(self.known, tool_choice=choice)
        called = bool(heard.answer.calls)
        if called:
            ok, detail = await self._calls_only_when_needed()
        elif heard.whole:
            ok, detail = False, "It was told to call a tool and called none, so it is offered none."
        else:
            ok, detail = None, "It had not called a tool in time; it is offered tools all the same."
        self.known = replace(self.known, tools=ok if ok is not None else (called or None))
        self._note("tools", ok, detail, start)

    async def _calls_only_when_needed(self) -> tuple[bool | None, str]:
        """Small models answer any question with a call as soon as there are tools."""
        try:
            heard = await self._ask(PLAIN, ANSWER_SECONDS, tools=[WEATHER])
        except ModelError:
            return True, "It calls tools."
        if heard.answer.calls or heard.answer.invalid or heard.is_json:
            return False, "It writes calls where none are needed, so it is offered no tools."
        return True, "It calls tools."

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
    ) -> Heard:
        """Ask, and leave out what the server refuses. Raises ModelError."""
        recovery = Recovery()
        limit = self._left(most)
        until = time.monotonic() + limit
        stale = 0
        extra = {"response_format": response_format} if response_format else None
        options = Options(self.model, tools, tool_choice, MAX_TOKENS, None, extra)
        for attempt in range(RETRIES):
            body = build(messages, options, self.known)
            try:
                return await self._hear(body, until)
            except TimeoutError as error:
                raise ModelError("stalled", SILENT.format(seconds=limit)) from error
            except UNREADABLE as error:
                raise ModelError("garbage") from error
            except StaleConnection:
                # The server closed a connection that we had kept: any number of them may be left.
                stale += 1
                if stale > RETRIES:
                    raise
            except ModelError as error:
                if error.kind in WAITS and until - time.monotonic() > LOADING_PAUSE:
                    await asyncio.sleep(LOADING_PAUSE)
                    continue
                last = attempt == RETRIES - 1 or error.kind == "no_tools"
                if last or not (
                    recovery.adapt(error, body, self.known)
                    or recovery.simplify(error, messages, body, self.known)
                ):
                    raise recovery.last_word(error) from error
                self.known = replace(self.known, **recovery.changes)
        raise ModelError("other")

    async def _hear(self, body: dict[str, Any], until: float) -> Heard:
        url = f"{self.base_url}/chat/completions"
        key = self.settings.api_key.get_secret_value()
        return await hear(self.transport, url, body, api_key=key, until=until, end=self.deadline)


async def probe(
    transport: Transport, settings: ModelSettings, *, total: float = TOTAL_SECONDS
) -> ProbeReport:
    """Test a model server."""
    return await Probe(transport, settings, total).run()


def not_found(error: ModelError) -> ProbeReport:
    """The report where there is no server to test."""
    step = Step("reach", False, error.detail, 0, error.kind)
    return ProbeReport("", "", "openai", (), (step,), DEFAULT, error.detail, error.kind)
