"""Small files and small functions; complexity is checked by ruff (C90)."""

from __future__ import annotations

import ast

from tests.style import tree

LONGEST_FILE = 400
LONGEST_FUNCTION = 50


def test_no_file_is_longer_than_400_lines() -> None:
    sizes = {
        tree.name(p): tree.text(p).count("\n") for p in tree.ending(".py", ".js", ".css", ".lua")
    }
    assert {path: lines for path, lines in sizes.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    too_long: list[str] = []
    for path in tree.ending(".py"):
        for node in ast.walk(tree.parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    too_long.append(f"{tree.name(path)}:{node.lineno} {node.name}: {lines} lines")
    assert too_long == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    vague = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
    assert [tree.name(p) for p in tree.files() if p.stem in vague or p.parent.name in vague] == []
