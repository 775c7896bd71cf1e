"""The page about extending is right: all its examples together, in a copy of the project, pass
their own tests and those that look at the lists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from tests.style import tree
from tools.base import Traits

PAGE = tree.ROOT / "docs" / "extending.md"
FIRST_LINE = re.compile(r"(?:#|//|\{#) ([\w./-]+)(?: #\})?")

OF_THE_LISTS = (
    "tests/api/test_commands.py",
    "tests/api/test_routes.py",
    "tests/channels/test_channels.py",
    "tests/core/backup/test_every_kind.py",
    "tests/core/settings/test_schema.py",
    "tests/core/store/test_kinds.py",
    "tests/core/test_events.py",
    "tests/dashboard",
    "tests/packaging/test_compose.py",
    "tests/style/test_architecture_page.py",
    "tests/style/test_docs.py",
    "tests/style/test_size.py",
    "tests/tools/test_builtin.py",
)
"""Tests that fail when something of an entry was forgotten."""


@dataclass(frozen=True)
class Block:
    """A block of the page: a whole file, or changes to one that is there."""

    language: str
    file: str
    body: str


def blocks() -> Iterator[Block]:
    for language, text in re.findall(r"```(\w+)\n(.*?)```", tree.text(PAGE), flags=re.DOTALL):
        first, _, body = text.partition("\n")
        named = FIRST_LINE.fullmatch(first)
        assert named is not None, f"a block does not name its file: {first}"
        yield Block(language, named[1], body)


def test_every_trait_is_described() -> None:
    declared = {field.name for field in fields(Traits)} - {"reads_kept"}
    assert {name for name in declared if f"| `{name}` |" in tree.text(PAGE)} == declared


def test_the_table_counts_what_the_sections_touch() -> None:
    """Of the sections whose count is only numbers; a section that begins with another one counts
    its files too."""
    page = tree.text(PAGE)
    rows = re.findall(r"\]\(#[\w-]+\) \| (\d) \+ (\d) \+ (\d) \|", page)
    names = re.findall(r"\[([^\]]+)\]\(#[\w-]+\) \| \d \+ \d \+ \d \|", page)
    assert len(names) > 5
    for name, (code, docs, tests) in zip(names, rows, strict=True):
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        files = set(re.findall(r"```\w+\n(?:#|//|\{#) ([\w./-]+)", section))
        found = [
            len([f for f in files if not f.startswith(("docs/", "tests/"))]),
            len([f for f in files if f.startswith("docs/")]),
            len([f for f in files if f.startswith("tests/")]),
        ]
        assert found == [int(code), int(docs), int(tests)], name


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with all examples in it."""
    copy = tmp_path_factory.mktemp("house") / "assistant"
    copy.mkdir()
    for name in sorted({tree.name(path).split("/")[0] for path in tree.committed()}):
        there = tree.ROOT / name
        if there.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(there, copy / name, ignore=ignored)
        else:
            shutil.copy(there, copy / name)
    for block in blocks():
        file = copy / block.file
        if block.language == "diff":
            file.write_text(changed(file.read_text(), block))
        else:
            assert not file.exists(), f"{block.file} is there already"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body)
    for script in ("settings_reference.py", "keys_reference.py"):  # make docs
        run(copy, str(copy / "docs" / script))
    return copy


def changed(text: str, block: Block) -> str:
    """The text of a file with the changes of a block: what is not new must be there, once."""
    lines = text.split("\n")
    for part in block.body.rstrip("\n").split("\n\n"):
        hunk = part.split("\n")
        old = [line[1:] for line in hunk if line[:1] != "+"]
        new = [line[1:] for line in hunk if line[:1] != "-"]
        places = [n for n in range(len(lines)) if lines[n : n + len(old)] == old]
        assert len(places) == 1, (
            f"docs/extending.md shows lines of {block.file} that must be there once and are there "
            f"{len(places)} times. Change the block to fit the file: {old}"
        )
        lines[places[0] : places[0] + len(old)] = new
    return "\n".join(lines)


def run(house: Path, *arguments: str) -> None:
    """Run Python in the copy. Fails with its output."""
    environment = {**os.environ, "PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=house,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


@pytest.mark.timeout(300)
def test_the_examples_pass_their_tests_and_those_of_the_lists(house: Path) -> None:
    own = [block.file for block in blocks() if block.file.startswith("tests/")]
    run(house, "-m", "pytest", "-q", "-p", "no:cacheprovider", *own, *OF_THE_LISTS)


def test_the_examples_are_in_our_style(house: Path) -> None:
    run(house, "-m", "ruff", "check", "--no-cache", ".")
    run(house, "-m", "ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.timeout(120)
def test_the_examples_keep_the_levels_of_the_imports(house: Path) -> None:
    run(
        house,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    )
