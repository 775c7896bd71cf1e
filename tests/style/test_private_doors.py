"""Private names of dependencies that we rely on, one test each.

A release may change any of them without a word, and most of ours would then stop working in
silence. A failure here names what to look at. pyproject.toml has an upper bound where nothing else
would fail.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path

import docket
import docket.docket
import docket.execution
import docket.worker
import hiredis
import uvicorn
from docket import Execution, Worker
from langgraph._internal import _constants
from langgraph.checkpoint.base import id as ids
from langgraph.checkpoint.serde import types
from langgraph.graph import state
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection
from sse_starlette import EventSourceResponse
from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.jobs import queue
from core.jobs.payload import (
    CarefulExecution,
    NoStrikes,
    NothingKept,
    PlainText,
    use_plain_payloads,
)


def names_in_file(path: Path) -> set[str]:
    """Attributes that a module uses."""
    return {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}


def names_in(function: object) -> set[str]:
    """Attributes and names that a function or class uses."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))  # pyright: ignore[reportArgumentType] - any class or function
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return attributes | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_docket_listens_for_cancellations_where_we_replace_it() -> None:
    """core/jobs/queue.py; no job would run without the event that it waits for."""
    assert inspect.iscoroutinefunction(vars(Worker)["_cancellation_listener"])
    assert {"_cancellation_listener", "_processing_session", "cancellation_ready"} <= names_in(
        Worker
    )
    assert {"cancellation_ready", "stopping"} <= names_in(vars(Worker)["_cancellation_listener"])


def test_docket_reads_pickles_nowhere_but_where_we_replace_it() -> None:
    """core/jobs/payload.py; a new place that reads one would let writers of Redis run code."""
    reads = {"loads", "load", "Unpickler"}
    package = Path(inspect.getfile(docket)).parent
    with_pickle = {
        path.relative_to(package).as_posix(): names_in_file(path) & reads
        for path in package.rglob("*.py")
        if "pickle" in path.read_text()
    }
    assert with_pickle == {
        "execution.py": {"loads"},
        "strikelist.py": {"loads"},
        "worker.py": set(),
        # get_execution(), which only docket's own command calls.
        "docket.py": {"loads"},
    }
    queue_names = names_in_file(Path(inspect.getfile(queue)))
    assert not queue_names & {"get_execution", "get_result", "strike", "snapshot"}


def test_docket_takes_what_we_replace_from_these_names() -> None:
    """core/jobs/payload.py."""
    use_plain_payloads()
    assert vars(docket.execution)["cloudpickle"] is PlainText
    assert vars(docket.worker)["cloudpickle"] is NothingKept
    assert vars(docket.worker)["Execution"] is CarefulExecution
    assert vars(docket.docket)["StrikeList"] is NoStrikes
    assert {"cloudpickle", "dumps", "loads"} <= names_in(Execution)
    assert {"StrikeList"} <= names_in(docket.docket.Docket.__aenter__)
    assert {"Execution", "from_message"} <= names_in(vars(Worker)["_worker_loop"])
    local = NoStrikes(name="x", url="redis://nowhere")
    assert (local.url, vars(local)["_redis"]) == (None, None)


def test_redis_keeps_its_idle_connections_in_a_list() -> None:
    """core/store/client.py: dead ones are dropped; it fails in silence."""
    pool = ConnectionPool()
    assert list(vars(pool)["_available_connections"]) == []


def test_redis_packs_and_sends_commands_through_methods_of_the_connection() -> None:
    """core/store/connection.py replaces them: a cancellation must not be swallowed."""
    for name in ("pack_command", "send_packed_command"):
        assert name in vars(AbstractConnection)
    for kind in (Connection, UnixDomainSocketConnection):
        assert issubclass(kind, AbstractConnection)
    assert ConnectionPool().connection_class is Connection
    assert "connection_class" in names_in(ConnectionPool.make_connection)
    assert hiredis.pack_command(("GET", "x")) == b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n"  # pyright: ignore[reportArgumentType] - the stub allows tuples of one only


def test_langgraph_remembers_its_last_id_in_a_global() -> None:
    """graph/checkpoint/ids.py: ids must grow over a clock that goes back."""
    assert "_last_v6_timestamp" in vars(ids)
    assert "_last_v6_timestamp" in names_in(ids.uuid6)


def test_langgraph_stores_delta_channels_in_a_class_of_this_name() -> None:
    """graph/checkpoint/codec.py."""
    assert inspect.isclass(vars(types)["_DeltaSnapshot"])


def test_langgraph_names_what_makes_something_run_by_these_prefixes() -> None:
    """graph/checkpoint/saver.py: RUNNING decides whether a write ends a step."""
    assert vars(state)["_CHANNEL_BRANCH_TO"].startswith("branch:")
    assert all(
        vars(_constants)[name].startswith("__")
        for name in ("ERROR", "INTERRUPT", "TASKS", "RESUME")
    )


def test_sse_starlette_waits_for_the_exit_signal_in_a_method() -> None:
    """api/stream.py replaces it: the library polls twice a second."""
    assert "_listen_for_exit_signal" in vars(EventSourceResponse)
    assert "_listen_for_exit_signal" in names_in(EventSourceResponse)


def test_uvicorn_ticks_and_hears_signals_in_methods_of_the_server() -> None:
    """api/server.py replaces them."""
    for name in ("main_loop", "on_tick", "capture_signals", "handle_exit", "shutdown"):
        assert name in vars(uvicorn.Server)
    assert "main_loop" in names_in(uvicorn.Server)
    assert "capture_signals" in names_in(uvicorn.Server.serve)


def test_uvicorn_pauses_a_connection_in_methods_of_the_protocol() -> None:
    """api/stalled.py extends them."""
    for name in ("pause_writing", "resume_writing", "connection_lost"):
        assert name in dir(HttpToolsProtocol)


def test_starlette_keeps_a_body_that_was_read_in_an_attribute() -> None:
    """api/middleware/body.py fills it."""
    assert {"_body", "_json"} <= names_in(Request)
