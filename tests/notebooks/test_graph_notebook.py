"""The notebook runs as it is, and is committed without what it printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import nbformat
import pytest
from nbclient import NotebookClient

from tests.style import tree

NOTEBOOK = tree.ROOT / "notebooks" / "graph.ipynb"


def read() -> Any:
    """The notebook as it is committed."""
    return cast("Any", nbformat).read(NOTEBOOK, as_version=4)


def printed(cell: Any) -> str:
    """What a cell printed or showed."""
    texts = [str(out.get("text") or out.get("data") or "") for out in cell["outputs"]]
    return "\n".join(texts)


def test_it_is_committed_without_outputs() -> None:
    code = [cell for cell in read()["cells"] if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"]] == []


async def test_it_runs_and_shows_the_graph_a_turn_and_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = read()
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client = NotebookClient(notebook, timeout=50, kernel_name="python3", resources=place)
    await cast("Any", client.async_execute())
    shown = {cell["id"]: printed(cell) for cell in notebook["cells"] if "outputs" in cell}
    assert "tool_agent" in shown["draw"]
    assert "<svg" in shown["draw"]
    order = ("turn_started", "tool_started", "tool_finished", "message_completed", "turn_finished")
    found = [shown["turn"].index(event) for event in order]
    assert found == sorted(found)
    assert "next: assistant" in shown["checkpoints"]
    assert ":log" in shown["keys"]
