"""What is stored comes back as it was, and nothing that is stored is ever run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send

from core.store import keys
from core.store.redis import RedisClient
from graph.checkpoint.codec import dump, pack_writes, read, read_writes
from graph.checkpoint.saver import RedisSaver
from tests.graph.checkpoint_graphs import about, checkpoint, thread

ROOT = Path(__file__).parents[2]
STRICT = JsonPlusSerializer(allowed_msgpack_modules=None)
REPEATABLE = settings(derandomize=True, deadline=None, max_examples=150)

SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
)
CONSTRUCTOR = st.fixed_dictionaries(
    {
        "lc": st.sampled_from((1, 2)),
        "type": st.sampled_from(("constructor", "secret", "not_implemented")),
        "id": st.sampled_from((["os", "system"], ["builtins", "eval"], ["langchain_core", "Any"])),
        "kwargs": st.dictionaries(st.text(max_size=3), SCALAR, max_size=2),
    }
)
ODD: st.SearchStrategy[Any] = st.just({"__send__": True, "node": "x", "arg": 1})
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALAR | CONSTRUCTOR | ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), inner)
    ),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), JSON)


@given(OBJECT | CONSTRUCTOR, JSON)
@REPEATABLE
def test_any_json_in_messages_comes_back(arguments: dict[str, Any], value: Any) -> None:
    stored: list[Any] = [
        AIMessage(
            "x",
            id="1",
            tool_calls=[{"name": "tool", "args": arguments, "id": "c", "type": "tool_call"}],
            additional_kwargs={"from model": value},
        ),
        ToolMessage("y", id="2", tool_call_id="c", artifact=value),
        HumanMessage([{"type": "text", "text": "z"}], id="3"),
        value,
        arguments,
    ]
    assert read(STRICT, dump(STRICT, stored)) == stored
    batch = pack_writes(STRICT, [("one", stored), ("two", value)], "task", "")
    assert read_writes(STRICT, [batch]) == [("task", "one", stored), ("task", "two", value)]


async def test_messages_and_langgraph_types_in_a_checkpoint(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    values = {
        "messages": [AIMessage("x", id="1", usage_metadata=None), HumanMessage("y", id="2")],
        "sends": [Send("tool_agent", {"call": {"lc": 1, "type": "constructor", "id": ["os"]}})],
        "asked": Interrupt("sure?", id="i"),
    }
    made = checkpoint(dict(values))
    config = await saver.aput(thread("t"), made, about(), made["channel_versions"])
    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == values


@pytest.mark.parametrize("length", [10, 4095, 4096, 300_000])
def test_compressed_or_not(length: int) -> None:
    text = "long words " * (length // 11)
    stored = dump(STRICT, text)
    assert read(STRICT, stored) == text
    assert (len(stored) < len(text)) == (4096 <= len(text) <= 256 * 1024)


# ---- hostile data


def hostile(code: int, module: str, name: str, argument: Any, *more: str) -> bytes:
    """A value that asks the reader to call something."""
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb((module, name, argument, *more))))


ATTACKS = [
    (0, "os", "system", "touch {file}"),
    (1, "os", "system", ["touch {file}"]),
    (2, "pathlib", "Path", {"_": 1}),
    (0, "builtins", "open", "{file}"),
    (1, "builtins", "open", ["{file}", "w"]),
    (3, "pathlib", "Path", "{file}", "touch"),
    (4, "subprocess", "Popen", {"args": ["touch", "{file}"]}),
    (5, "subprocess", "Popen", {"args": ["touch", "{file}"]}),
]


def aimed(argument: Any, file: Path) -> Any:
    """The attack's argument with the name of the file in it."""
    match argument:
        case str():
            return argument.format(file=file)
        case list():
            return [aimed(item, file) for item in argument]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {key: aimed(item, file) for key, item in argument.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return argument


def test_the_first_attack_would_work_on_a_careless_reader(tmp_path: Path) -> None:
    file = tmp_path / "made"
    careless = JsonPlusSerializer(allowed_msgpack_modules=True)
    read(careless, b"\3" + hostile(0, "os", "system", f"touch {file}"))
    assert file.exists()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack[0]}-{attack[1]}")
async def test_stored_calls_are_not_made(redis: RedisClient, tmp_path: Path, attack: Any) -> None:
    file = tmp_path / "made by the attack"
    code, module, name, argument, *more = attack
    blob = b"\3" + hostile(code, module, name, aimed(argument, file), *more)
    saver = RedisSaver(redis)
    made = checkpoint({"a": ["value"]})
    config = await saver.aput(thread("t"), made, about(), made["channel_versions"])
    await saver.aput_writes(config, [("a", ["value"])], "task")
    for field in await redis.hkeys(keys.checkpoint("t", "b")):
        await redis.hset(keys.checkpoint("t", "b"), field, blob)
    batch = ormsgpack.packb(("task", "", [0, "a", blob]))
    await redis.hset(keys.checkpoint("t", "w"), f"{made['id']}\01", batch)
    found = await saver.aget_tuple(config)
    assert found is not None
    assert not file.exists()
    assert len(found.pending_writes or []) == 1


STRICT_RUN = """
import asyncio, os
from dataclasses import dataclass
from typing import TypedDict
from langgraph.checkpoint.serde import _msgpack
from langgraph.graph import END, START, StateGraph
from core.store.connection import connect
from graph.checkpoint.saver import RedisSaver
assert _msgpack.STRICT_MSGPACK_ENABLED

@dataclass
class Known:
    x: int

@dataclass
class Unknown:
    x: int

class State(TypedDict, total=False):
    known: Known
    other: object

async def node(state: State) -> State:
    return {"known": Known(1), "other": Unknown(2)}

async def main() -> None:
    redis = connect(os.environ["TEST_REDIS"])
    saver = RedisSaver(redis)
    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    graph = builder.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke({}, config)
    values = (await graph.aget_state(config)).values
    assert values["known"] == Known(1), values
    assert not isinstance(values["other"], Unknown), values
    await redis.aclose()

asyncio.run(main())
"""


def test_strict_mode_allows_the_types_of_the_state_only(redis: RedisClient, redis_url: str) -> None:
    """LangGraph reads the variable when it is imported, and then clones the saver."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", STRICT_RUN],
        cwd=ROOT,
        env={"LANGGRAPH_STRICT_MSGPACK": "true", "TEST_REDIS": redis_url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@dataclass
class Stranger:
    """A type that no graph declares."""

    x: int


async def test_without_the_variable_it_is_the_same(redis: RedisClient) -> None:
    saver = RedisSaver(redis)
    made = checkpoint({"a": Stranger(1)})
    config = await saver.aput(thread("t"), made, about(), made["channel_versions"])
    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"a": {"x": 1}}
