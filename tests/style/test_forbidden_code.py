"""Constructs that the project does without, found in the syntax tree."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style import tree

# Loading data with these runs code that the data brings along.
UNSAFE_MODULES = frozenset({"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"})
UNSAFE_CALLS = frozenset({
    "numpy.load", "np.load", "torch.load",
    "yaml.full_load", "yaml.load", "yaml.load_all", "yaml.unsafe_load",
})  # fmt: skip


def unsafe_loading(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Imports and calls that would run code found in data."""
    yield from ((found, line) for found, line in tree.imported(module) if found in UNSAFE_MODULES)
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and tree.dotted(node.func) in UNSAFE_CALLS:
            yield tree.dotted(node.func), node.lineno


def test_nothing_is_loaded_in_a_way_that_runs_code() -> None:
    found = [
        f"{tree.name(path)}:{line} {what}"
        for path in tree.ending(".py")
        for what, line in unsafe_loading(tree.parsed(path))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    torch.load('m')",
        "yaml.load(text)",
    ],
)
def test_the_check_sees_unsafe_loading(code: str) -> None:
    assert list(unsafe_loading(ast.parse(code)))


def silent_skips(module: ast.Module) -> Iterator[int]:
    """Lines with a skip or xfail that gives no reason."""
    marks = {f"pytest.mark.{kind}" for kind in ("skip", "skipif", "xfail")}
    calls = marks | {"pytest.importorskip"}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bare = (d for d in node.decorator_list if tree.dotted(d) in marks)
            yield from (decorator.lineno for decorator in bare)
        elif isinstance(node, ast.Call):
            called = tree.dotted(node.func)
            named = any(keyword.arg == "reason" for keyword in node.keywords)
            direct = called in ("pytest.skip", "pytest.xfail") and bool(node.args)
            if (called in calls and not named) or (
                called in ("pytest.skip", "pytest.xfail") and not (named or direct)
            ):
                yield node.lineno


def test_a_skipped_test_says_why() -> None:
    found = [
        f"{tree.name(path)}:{line}"
        for path in tree.ending(".py")
        for line in silent_skips(tree.parsed(path))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "silent"),
    [
        ("@pytest.mark.skip\ndef test_x(): ...", True),
        ("@pytest.mark.xfail(raises=OSError)\ndef test_x(): ...", True),
        ("pytest.skip()", True),
        ("pytest.skip('no browser here')", False),
        ("@pytest.mark.skipif(True, reason='needs bubblewrap')\ndef test_x(): ...", False),
    ],
)
def test_the_check_sees_silent_skips(code: str, silent: bool) -> None:
    assert bool(list(silent_skips(ast.parse(code)))) is silent


TYPED_REDIS = ("core/store/", "tests/support/", "benchmarks/saver.py")
"""Where the client of redis-py may be named: its types are no use elsewhere."""


def untyped_redis(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Names of redis-py's client, whose replies are perhaps awaitable, and casts that say so."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("redis"):
            names = {alias.name for alias in node.names}
            yield from ((name, node.lineno) for name in names & {"Redis", "Pipeline", "PubSub"})
        elif isinstance(node, ast.Call) and tree.dotted(node.func) in ("cast", "typing.cast"):
            kind = ast.unparse(node.args[0]).strip("'")
            if kind.startswith("Awaitable"):
                yield f"cast to {kind}", node.lineno


def test_redis_is_used_through_our_types() -> None:
    found = [
        f"{tree.name(path)}:{line} {what}"
        for path in tree.ending(".py")
        for what, line in untyped_redis(tree.parsed(path))
        if what.startswith("cast") or not tree.name(path).startswith(TYPED_REDIS)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "from redis.asyncio import ConnectionPool, Redis",
        "from redis.asyncio.client import Pipeline",
        "cast('Awaitable[bytes | None]', redis.get(name))",
        "cast(Awaitable[bytes], redis.get(name))",
    ],
)
def test_the_check_sees_untyped_redis(code: str) -> None:
    assert list(untyped_redis(ast.parse(code)))


def noqa_without_reason(path: Path) -> Iterator[str]:
    """Suppressions that name no rule or do not say why."""
    explained = re.compile(r"#\s*noqa:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*\s*[-–:#(]?\s*\S{2,}")
    for token in tokenize.generate_tokens(io.StringIO(tree.text(path)).readline):
        suppresses = token.type == tokenize.COMMENT and re.search(r"#\s*noqa\b", token.string)
        if suppresses and not explained.search(token.string):
            yield f"{tree.name(path)}:{token.start[0]} {token.string}"


def test_a_suppressed_rule_is_named_and_explained() -> None:
    assert [entry for path in tree.ending(".py") for entry in noqa_without_reason(path)] == []
