"""One turn: from the message to the ending, fresh or resumed after a crash."""

from __future__ import annotations

import asyncio
import copy
import logging
import secrets
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphRecursionError, NodeTimeoutError
from langgraph.types import Command

from core.conversations.inbound import Decision, Message, Reminder, Unreadable
from core.engine.mailbox import Turn
from core.engine.turn_journal import TurnJournal
from core.engine.turn_meter import measured_run
from core.engine.turns import Ending, HandOver, TurnControl, plain_ending
from core.errors import AssistantError, Fenced, StoreError, StoreUnavailable
from core.events import (
    Event,
    MessageCompleted,
    Notice,
    TextDelta,
    TurnFinished,
    TurnStatus,
    Usage,
)
from core.models.errors import ModelError
from core.services import Services
from graph.build import LAST_NODE, Graph
from graph.checkpoint.saver import CheckpointUnreadable
from graph.checkpoint.select import Saver, for_turn, set_aside, settle, trim
from graph.record import Record
from graph.start import NothingWaits, decided, fresh_input, refused_turn, start
from nodes.request.shown import answer_id
from nodes.state import Context, Emit, State
from tools.toolbox import Toolbox

log = logging.getLogger(__name__)

INTERRUPT = "__interrupt__"
"""Key of the update that LangGraph gives when nodes wait (langgraph.types.interrupt)."""

RECURSION_LIMIT = 500
"""Supersteps of one turn: 50 iterations of 50 rounds never come near; a wiring mistake does."""

LOST_STATE = "The stored memory of this conversation could not be read; it goes on without it."

PRUNE_EVERY = 2
"""Turns of a thread between two prunings in this process."""


class Runner:
    """Runs turns; one per worker process."""

    def __init__(self, graph: Graph, services: Services, toolbox: Toolbox) -> None:
        self._graph = graph
        self._services = services
        self._toolbox = toolbox
        self._turns: dict[str, int] = {}

    async def run(self, turn: Turn, control: TurnControl, journal: TurnJournal) -> Ending:
        """Run the turn to its end, whatever happens. Raises HandOver, Fenced."""
        record = Record(turn)
        outlet = _Outlet(record, journal)
        seconds = self._services.settings.current.orchestrator.turn_timeout
        task = asyncio.create_task(
            self._measured(turn, record, outlet.emit), name=f"run {turn.run_id}"
        )
        outlet.run = task
        control.watch(task)
        try:
            async with asyncio.timeout(seconds):
                status = await outlet.outlast(task)
        except asyncio.CancelledError:
            return self._stopped(turn, control, record)
        except Fenced:
            raise
        except StoreUnavailable as error:
            # Nothing is wrong with the turn: the next worker that reaches Redis goes on with it.
            log.warning("run %s: %s", turn.run_id, error)
            raise HandOver from error
        except TimeoutError:
            detail = f"The turn took longer than {seconds:g} seconds and was stopped. Ask for less."
            return _failed(record, "timeout", detail, retryable=True)
        except AssistantError as error:
            kind = getattr(error, "kind", error.code)
            return _failed(record, str(kind), error.detail, retryable=error.retryable)
        except (NodeTimeoutError, GraphRecursionError) as error:
            log.warning("run %s: %s", turn.run_id, error)
            return _failed(
                record,
                "timeout",
                "The turn made no progress and was stopped. Try again.",
                retryable=True,
            )
        except Exception:  # the turn boundary: the user gets an ending, the log the traceback
            number = secrets.token_hex(4)
            log.exception("run %s failed (error %s)", turn.run_id, number)
            detail = (
                f"Something went wrong inside the assistant (error {number} in the log). Try again."
            )
            return _failed(record, "internal", detail, retryable=True)
        finally:
            task.cancel()
        return record.ending([TurnFinished(status)])

    def _stopped(self, turn: Turn, control: TurnControl, record: Record) -> Ending:
        match control.reason:
            case "user":
                return record.ending([TurnFinished("cancelled")])
            case "drain":
                raise HandOver
            case "lost":
                raise Fenced(f"the lease of {turn.thread_id} is lost")
            case None:
                raise asyncio.CancelledError

    def give_up(self, turn: Turn, code: str, detail: str) -> Ending:
        """The ending of a turn that is not run."""
        return Record(turn).ending(plain_ending(code, detail))

    # ---- the graph

    async def _measured(self, turn: Turn, record: Record, emit: Emit) -> TurnStatus:
        tools = self._toolbox.for_turn(turn.inbound.user_id, turn.thread_id)
        with measured_run(turn, tools.by_name) as meter:
            context = Context(self._services, tools, turn, meter.watching(emit))
            return await self._work(context, record, emit)

    async def _work(self, context: Context, record: Record, tell: Emit) -> TurnStatus:
        """``tell`` shows again what was measured before, ``context.emit`` what is new."""
        match context.turn.inbound:
            case Reminder(text=text):
                _remind(context.turn, text, context.emit)
                return "completed"
            case Unreadable(why=why):
                raise AssistantError(why, code="unreadable")
            case Message() | Decision() as inbound:
                return await self._answer(context, inbound, record=record, tell=tell)

    async def _answer(
        self, context: Context, inbound: Message | Decision, *, record: Record, tell: Emit
    ) -> TurnStatus:
        turn = context.turn
        graph = self._bound(turn)
        config: RunnableConfig = {
            "configurable": {"thread_id": turn.thread_id},
            "recursion_limit": RECURSION_LIMIT,
        }
        try:
            status = await self._go(inbound, graph, config, context, record=record, tell=tell)
        except BaseException as error:
            # Also of a turn that fails or is stopped, the message stays part of the conversation.
            await _write_held(graph, turn)
            if isinstance(error, ModelError) and error.refused:
                await _take_back(graph, config, turn)
            raise
        await settle(_saver(graph))
        await self._prune(turn, graph)
        return status

    async def _go(
        self,
        inbound: Message | Decision,
        graph: Graph,
        config: RunnableConfig,
        context: Context,
        *,
        record: Record,
        tell: Emit,
    ) -> TurnStatus:
        """Run the graph until it ends or waits, from the start or from where it stands."""
        turn, settings = context.turn, self._services.settings.current
        try:
            if isinstance(inbound, Decision):
                answers, graph_input = await decided(
                    turn, inbound, graph=graph, config=config, tell=tell
                )
                record.answers(answers)
            else:
                graph_input = await start(
                    turn, inbound, graph=graph, config=config, tell=tell, settings=settings
                )
            if graph_input is False:
                return "completed"
            return await _through(graph, graph_input, config, context)
        except CheckpointUnreadable as error:
            log.error("thread %s: %s", turn.thread_id, error)
            await set_aside(_saver(graph), turn.thread_id)
            tell(Notice("warning", LOST_STATE))
            if isinstance(inbound, Decision):
                raise NothingWaits from error
            return await _through(graph, fresh_input(inbound, settings), config, context)

    def _bound(self, turn: Turn) -> Graph:
        """The graph with a saver that writes under this turn's fence and life time."""
        graph = copy.copy(self._graph)
        graph.checkpointer = for_turn(
            _saver(graph),
            epoch=turn.epoch,
            ttl=int(turn.ttl) if turn.ttl else None,
            found=turn.found,
        )
        return graph

    async def _prune(self, turn: Turn, graph: Graph) -> None:
        """Drop old checkpoints now and then; not worth failing a turn for."""
        count = self._turns.pop(turn.thread_id, 0) + 1
        if count < PRUNE_EVERY:
            self._turns[turn.thread_id] = count
            while len(self._turns) > 10_000:
                self._turns.pop(next(iter(self._turns)))
            return
        kept = self._services.settings.current.orchestrator.checkpoints_kept
        try:
            await trim(_saver(graph), turn.thread_id, count=kept)
        except AssistantError as error:
            log.warning("thread %s: not pruned: %s", turn.thread_id, error)


class _Outlet:
    """Where the events of a run go, straight from the nodes: LangGraph's own stream would hand them
    on only when the node waits, or has ended."""

    def __init__(self, record: Record, journal: TurnJournal) -> None:
        self._record = record
        self._journal = journal
        self._failed: Exception | None = None
        self.run: asyncio.Task[TurnStatus] | None = None

    def emit(self, event: Event) -> None:
        """Take an event. When it cannot be written the run is stopped: a tool would take an error
        that came out of here for its own."""
        if self._failed is not None:
            return
        self._record.take(event)
        try:
            self._journal.put(event)
        except (Fenced, StoreError) as error:
            self._failed = error
            if self.run is not None:
                self.run.cancel()

    async def outlast(self, run: asyncio.Task[TurnStatus]) -> TurnStatus:
        """Wait for the run. Raises what it raised, or why its events could not be written."""
        try:
            return await run
        except asyncio.CancelledError:
            if self._failed is None:
                raise
            raise self._failed from None


async def _through(
    graph: Graph, graph_input: State | Command[Any] | None, config: RunnableConfig, context: Context
) -> TurnStatus:
    """Run the graph until it ends, or until a node waits for a decision of the user."""
    status: TurnStatus = "completed"
    async for step in graph.astream(
        graph_input, config, context=context, stream_mode="updates", durability="sync"
    ):
        if INTERRUPT in step:
            status = "waiting"
    return status


def _saver(graph: Graph) -> Saver:
    return cast("Saver", graph.checkpointer)


async def _write_held(graph: Graph, turn: Turn) -> None:
    try:
        await settle(_saver(graph))
    except AssistantError as error:
        log.warning("thread %s: the message is not in its state: %s", turn.thread_id, error)


async def _take_back(graph: Graph, config: RunnableConfig, turn: Turn) -> None:
    """Remove from the state what the model server has refused: with it in the conversation, no
    later message would be answered. *Try again* puts it back."""
    try:
        snapshot = await graph.aget_state(config)
        if (update := refused_turn(cast("State", snapshot.values))) is not None:
            await graph.aupdate_state(config, update, as_node=LAST_NODE)
            await settle(_saver(graph))
    except AssistantError as error:
        log.warning("thread %s: the refused message stays in its state: %s", turn.thread_id, error)


def _remind(turn: Turn, text: str, emit: Emit) -> None:
    """A reminder needs no model: its words are the answer."""
    emit(TextDelta(text))
    emit(MessageCompleted(answer_id(turn.run_id), text, Usage(), ""))


def _failed(record: Record, code: str, detail: str, *, retryable: bool) -> Ending:
    return record.ending(plain_ending(code, detail, retryable=retryable))
