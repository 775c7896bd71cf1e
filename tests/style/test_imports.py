"""Importing does nothing, and brings nothing heavy along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.style import tree

MODEL_RUNTIME = frozenset({"sentence_transformers", "torch", "transformers"})
AGENT_FRAMEWORK = frozenset({"langchain", "langchain_core", "langchain_openai", "langgraph"})


@dataclass(frozen=True)
class Imported:
    """What happened when modules were imported in a fresh process."""

    deeds: list[str]
    failed: list[str]
    packages: frozenset[str] = field(repr=False)
    left_behind: list[str]


def import_apart(modules: tuple[str, ...], folder: Path) -> Imported:
    """Import in a fresh process whose home and folder are empty and whose environment is bare."""
    script = Path(__file__).with_name("import_everything.py")
    folder.mkdir()
    folder.chmod(0o555)
    environment = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(tree.ROOT),
        "TMPDIR": str(folder),
    }
    done = subprocess.run(
        [sys.executable, str(script), *modules],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return Imported(
        deeds=answer["deeds"],
        failed=answer["failed"],
        packages=frozenset(loaded.split(".")[0] for loaded in answer["loaded"]),
        left_behind=[path.name for path in folder.iterdir()],
    )


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """All of our modules, imported once for the tests of this file."""
    return import_apart(tree.modules(), tmp_path_factory.mktemp("imports") / "empty")


def test_every_module_can_be_imported_alone_from_anywhere(everything: Imported) -> None:
    assert everything.failed == []


def test_importing_reaches_nothing_outside_the_process(everything: Imported) -> None:
    assert everything.deeds == []
    assert everything.left_behind == []


def test_importing_loads_no_model_runtime(everything: Imported) -> None:
    assert everything.packages & MODEL_RUNTIME == frozenset()


def test_the_web_process_carries_neither_agent_framework_nor_model_runtime(tmp_path: Path) -> None:
    web = import_apart(("api.app",), tmp_path / "empty")
    assert web.failed == []
    assert web.packages & (AGENT_FRAMEWORK | MODEL_RUNTIME) == frozenset()
