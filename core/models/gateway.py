"""The gateway: every model call of the assistant goes through ``Gateway.stream``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from pydantic import SecretStr
from redis.exceptions import RedisError

from core.events import Usage
from core.home.web_address import read_port
from core.models import usage as accounting
from core.models.call import Call
from core.models.call_meter import CallMeter
from core.models.call_request import Fallback, Request, Timing
from core.models.errors import ModelError
from core.models.reach import Reach
from core.models.servers.catalog import ServerKind
from core.models.servers.discovery import PORTS, Server, discover
from core.models.servers.probe import ProbeReport, not_found, probe
from core.models.servers.servers import Servers, Target
from core.models.servers.windows import Windows
from core.models.wire.pieces import NoticePiece, Piece
from core.models.wire.transport import Transport, open_transport
from core.settings.groups import ModelSettings, Settings
from core.store.client import Store

log = logging.getLogger(__name__)


class CurrentSettings(Protocol):
    """Where the settings of this moment come from (LiveSettings)."""

    @property
    def current(self) -> Settings:
        """The settings now."""
        ...


class Gateway:
    """Model calls with normalised requests, tolerant reading, retries before the first token,
    accounting."""

    def __init__(
        self,
        store: Store,
        live: CurrentSettings,
        transport: Transport,
        *,
        fallback: Fallback | None = None,
        ports: Sequence[tuple[int, ServerKind]] = PORTS,
        timing: Timing | None = None,
    ) -> None:
        self._store = store
        self._live = live
        self._transport = transport
        self._fallback = fallback
        self._ports = ports
        self._timing = timing or Timing()
        self._servers = Servers(store.redis, transport, self.discover)
        self._windows = Windows(self._servers, transport)
        self._background: set[asyncio.Task[None]] = set()
        self.reach = Reach()

    @property
    def settings(self) -> Settings:
        """The settings of this moment."""
        return self._live.current

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        settings: Settings,
        user_id: str,
        thread_id: str,
        tool_choice: str | None = None,
        max_tokens: int | None = None,
        response_format: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[list[Piece]]:
        """Pieces of the answer, one list per network read; the last one ends with ``Finish``.

        ``messages`` and ``tools`` are in OpenAI's form. ``tool_choice`` is auto, none, required or
        the name of a tool. Raises ModelError, after having yielded what came before it. A caller
        who stops reading early without being cancelled must close the iterator
        (``contextlib.aclosing``), or the model goes on.
        """
        last = (tool_choice, max_tokens, response_format)
        call = Call(
            Request(messages, tools, settings, user_id, thread_id, *last),
            servers=self._servers,
            windows=self._windows,
            transport=self._transport,
            timing=self._timing,
            fallback=self._fallback,
        )
        with CallMeter(call, settings, thread_id) as meter:
            try:
                while (pieces := await call.next()) is not None:
                    if pieces:
                        if not isinstance(pieces[-1], NoticePiece):
                            self.reach.note_answer()
                        meter.take(pieces)
                        yield pieces
            except ModelError as error:
                if error.kind == "unreachable":
                    self.reach.note_miss(settings.model)
                raise
            finally:
                await call.aclose()
                self._account(call, user_id, thread_id)

    async def discover(self) -> tuple[Server, ...]:
        """Model servers on the hosts where they are looked for, ours left out."""
        settings = self.settings
        # The web server may have had to take another port than the one in the settings.
        listening = await asyncio.to_thread(read_port, settings.home)
        return await discover(
            self._transport,
            self._ports,
            hosts=settings.model.search_hosts,
            own_port=listening,
        )

    async def resolve(self, model: ModelSettings) -> Target:
        """Server and model that a call would go to now. Raises ModelError."""
        return await self._servers.resolve(model)

    async def probe(self, model: ModelSettings) -> ProbeReport:
        """Test a model server, remember what it can do. Never raises for what the server does."""
        if not model.base_url:
            try:
                target = await self._servers.resolve(model)
            except ModelError as error:
                return not_found(error)
            found = {"base_url": target.base_url, "name": target.model, "api_key": SecretStr("")}
            model = model.model_copy(update=found)
        report = await probe(self._transport, model)
        if report.refused is None:
            self.reach.note_answer()
            target = Target(report.base_url, report.model, "")
            await self._servers.learn(target, report.capabilities)
        return report

    async def context_window(self, settings: Settings) -> int:
        """Tokens that the model can take."""
        return await self._windows.of(settings.model)

    async def context_refused(self, settings: Settings, took: int) -> None:
        """A request was refused as too long without a word about the limit; then one for a context
        of ``took`` tokens was answered. Remembered for a day, also by other processes."""
        await self._windows.refused(settings.model, took)

    async def aclose(self) -> None:
        """Let go of what runs beside the calls; their accounting is written first."""
        await self.settle()
        await self._windows.aclose()

    def reach_figures(self) -> dict[str, int]:
        """For a worker's sign of life: when a model answered, and when nobody was there (ms)."""
        missed = self.reach.missed(self.settings.model)
        return {"model_answered": self.reach.answered, "model_missed": missed}

    async def settle(self) -> None:
        """Wait until all accounting is written."""
        while self._background:
            await asyncio.wait(self._background)

    def _account(self, call: Call, user_id: str, thread_id: str) -> None:
        # Not awaited: neither a finished nor a cancelled turn should wait for its accounting.
        if call.usage is None:
            return
        task = asyncio.create_task(self._record(call.usage, user_id, thread_id, call.in_cloud))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _record(self, usage: Usage, user_id: str, thread_id: str, cloud: bool) -> None:
        try:
            await accounting.record(
                self._store, usage, user_id=user_id, thread_id=thread_id, cloud=cloud
            )
        except (RedisError, OSError) as error:
            log.warning("usage of thread %s was not counted: %s", thread_id, error)


@asynccontextmanager
async def open_gateway(
    store: Store,
    live: CurrentSettings,
    *,
    fallback: Fallback | None = None,
    ports: Sequence[tuple[int, ServerKind]] = PORTS,
    timing: Timing | None = None,
) -> AsyncGenerator[Gateway]:
    """A gateway with its connection pool. ``fallback`` comes from ``core.models.cloud`` (worker
    only)."""
    async with open_transport() as transport:
        gateway = Gateway(store, live, transport, fallback=fallback, ports=ports, timing=timing)
        try:
            yield gateway
        finally:
            await gateway.aclose()
