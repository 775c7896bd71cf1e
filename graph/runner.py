"""One turn: from the message to the ending, fresh or resumed after a crash."""

from __future__ import annotations

import asyncio
import copy
import logging
import secrets
from typing import Any, Literal, cast

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
)
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphRecursionError, NodeTimeoutError

from core.engine.mailbox import Turn
from core.engine.turn_journal import TurnJournal
from core.engine.turn_meter import measured_run
from core.engine.turns import Ending, HandOver, TurnControl, plain_ending
from core.errors import AssistantError, Fenced, StoreError, StoreUnavailable
from core.events import Event, Notice, TurnFinished
from core.services import Services
from core.settings.groups import Settings
from graph.build import Graph
from graph.checkpoint.saver import CheckpointUnreadable
from graph.checkpoint.select import Saver, for_turn, set_aside, settle, trim
from graph.record import Record
from graph.replay import replay
from nodes.state import Context, Emit, State, TurnState
from tools.toolbox import Toolbox, TurnTools

log = logging.getLogger(__name__)

RECURSION_LIMIT = 500
"""Supersteps of one turn: 50 iterations of 50 rounds never come near; a wiring mistake does."""

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
        task = asyncio.create_task(self._measured(turn, outlet.emit), name=f"run {turn.run_id}")
        outlet.run = task
        control.watch(task)
        try:
            async with asyncio.timeout(seconds):
                await outlet.outlast(task)
        except asyncio.CancelledError:
            return self._stopped(turn, control, record)
        except Fenced:
            raise
        except StoreUnavailable as error:
            # Nothing is wrong with the turn: whoever reaches Redis again goes on with it.
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
        return record.ending([TurnFinished("completed")])

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

    async def _measured(self, turn: Turn, emit: Emit) -> None:
        tools = self._toolbox.for_turn(turn.message.user_id, turn.thread_id)
        with measured_run(turn, tools.by_name) as meter:
            await self._work(turn, tools, emit, meter.watching(emit))

    async def _work(self, turn: Turn, tools: TurnTools, tell: Emit, emit: Emit) -> None:
        """``tell`` shows again what was measured before, ``emit`` what is new."""
        graph = self._bound(turn)
        context = Context(self._services, tools, turn, emit)
        config: RunnableConfig = {
            "configurable": {"thread_id": turn.thread_id},
            "recursion_limit": RECURSION_LIMIT,
        }
        try:
            await self._go(turn, graph, config, context, tell)
        except BaseException:
            # Also of a turn that fails or is stopped, the message stays part of the conversation.
            await _write_held(graph, turn)
            raise
        await settle(_saver(graph))
        await self._prune(turn, graph)

    async def _go(
        self, turn: Turn, graph: Graph, config: RunnableConfig, context: Context, tell: Emit
    ) -> None:
        """Run the graph to its end, from the start or from where an earlier attempt came."""
        try:
            graph_input = await self._input(turn, graph, config, tell)
            if graph_input is not False:
                await _through(graph, graph_input, config, context)
        except CheckpointUnreadable as error:
            log.error("thread %s: %s", turn.thread_id, error)
            await set_aside(_saver(graph), turn.thread_id)
            tell(
                Notice(
                    "warning",
                    "The stored memory of this conversation could not be read; "
                    "it goes on without it.",
                )
            )
            await _through(
                graph, fresh_input(turn, self._services.settings.current), config, context
            )

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

    async def _input(
        self, turn: Turn, graph: Graph, config: RunnableConfig, tell: Emit
    ) -> State | Literal[False] | None:
        """What to start the graph with; None resumes, False: nothing is left to do."""
        message = turn.message
        if turn.attempt == 1 and message.retry_of is None:
            return fresh_input(turn, self._services.settings.current)
        snapshot = await graph.aget_state(config)
        values = cast("State", snapshot.values)
        started = cast("dict[str, Any]", values.get("turn") or {})
        if started.get("message_id") != message.id:
            gone = _from(values.get("messages", []), message.retry_of)
            return fresh_input(turn, self._services.settings.current, gone)
        replay(snapshot, turn, tell)
        # Not snapshot.next: it is empty where a crash fell between a node's writes and its
        # checkpoint.
        if snapshot.tasks:
            return None
        if answered(values.get("messages", []), message.retry_of or message.id):
            return False
        # Never an end without an answer, whatever part of the state a crash has left.
        log.warning("run %s: nothing to go on with and no answer; it begins anew", turn.run_id)
        return fresh_input(turn, self._services.settings.current)

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
        self.run: asyncio.Task[None] | None = None

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

    async def outlast(self, run: asyncio.Task[None]) -> None:
        """Wait for the run. Raises what it raised, or why its events could not be written."""
        try:
            await run
        except asyncio.CancelledError:
            if self._failed is None:
                raise
            raise self._failed from None


async def _through(
    graph: Graph, graph_input: State | None, config: RunnableConfig, context: Context
) -> None:
    """Run the graph to its end."""
    async for _ in graph.astream(
        graph_input, config, context=context, stream_mode="custom", durability="sync"
    ):
        pass


def _saver(graph: Graph) -> Saver:
    return cast("Saver", graph.checkpointer)


async def _write_held(graph: Graph, turn: Turn) -> None:
    try:
        await settle(_saver(graph))
    except AssistantError as error:
        log.warning("thread %s: the message is not in its state: %s", turn.thread_id, error)


def fresh_input(turn: Turn, settings: Settings, gone: list[RemoveMessage] | None = None) -> State:
    """The graph's input for a message that begins."""
    message = turn.message
    default = settings.orchestrator.autonomous_mode
    autonomous = default if message.autonomous is None else message.autonomous
    state: TurnState = {
        "message_id": message.id,
        "autonomous": autonomous,
        "rounds": 0,
        "iteration": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "estimated": False,
    }
    asked = HumanMessage(message.text, id=message.retry_of or message.id)
    messages = cast("list[AnyMessage]", [*(gone or ()), *_history(turn), asked])
    values: State = {"messages": messages, "turn": state}
    if autonomous:
        values["passed"] = False
    return values


def answered(messages: list[AnyMessage], message_id: str) -> bool:
    """Whether a message has its answer: one after it that asks for no more tools."""
    places = [i for i, m in enumerate(messages) if m.id == message_id]
    after = messages[places[-1] + 1 :] if places else []
    return any(isinstance(m, AIMessage) and not m.tool_calls for m in after)


def _history(turn: Turn) -> list[AnyMessage]:
    """What a stateless client says was said before."""
    result: list[AnyMessage] = []
    for number, item in enumerate(turn.message.history):
        name, text = f"{turn.message.id}-h{number}", str(item.get("content") or "")
        match item.get("role"):
            case "assistant":
                result.append(AIMessage(text, id=name))
            case "system" | "developer":
                result.append(SystemMessage(text, id=name))
            case _:
                result.append(HumanMessage(text, id=name))
    return result


def _from(messages: list[AnyMessage], message_id: str | None) -> list[RemoveMessage]:
    """Removal of a message that is tried again and of all that came of it."""
    if message_id is None:
        return []
    humans = [i for i, m in enumerate(messages) if isinstance(m, HumanMessage)]
    exact = [i for i in humans if messages[i].id == message_id]
    start = exact[-1] if exact else None
    if start is None:
        return []
    return [RemoveMessage(id=str(m.id)) for m in messages[start:]]


def _failed(record: Record, code: str, detail: str, *, retryable: bool) -> Ending:
    return record.ending(plain_ending(code, detail, retryable=retryable))
