"""The page about the architecture knows every Redis key, and the examples of tools work."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from core.services import Services
from nodes.tool_agent import run_call
from tests.style import tree
from tools.base import Caller, Traits
from tools.toolsets import build_toolbox

DOCS = tree.ROOT / "docs"


def test_the_table_of_keys_is_up_to_date() -> None:
    reference = tree.script(DOCS / "keys_reference.py")
    page = tree.text(DOCS / "architecture.md")
    assert page == reference.page(page), "run `make docs`"


def test_every_file_that_is_named_exists() -> None:
    pages = [tree.text(DOCS / name) for name in ("architecture.md", "extending.md")]
    named = {path for page in pages for path in re.findall(r"`([a-z_/-]+\.(?:py|lua|js))", page)}
    known = {tree.name(path) for path in tree.committed()} | {"tools/dice.py"}
    inside = {path for path in named if "/" in path}
    assert inside - known == set()


async def test_the_example_of_a_tool_works(tmp_path: Path) -> None:
    module = example("tools/dice.py", tmp_path)
    tools = build_toolbox(cast("Services", None), [module.toolset]).for_turn("u", "t")
    [schema] = tools.everything.schemas
    assert list(schema["function"]["parameters"]["properties"]) == ["sides"]
    thrown = await run_call(tools.by_name["throw_dice"], {"sides": 2}, Caller("u", "t", "r"), 5)
    assert thrown in (("ok", "1"), ("ok", "2"))
    status, _ = await run_call(tools.by_name["throw_dice"], {"sides": 1}, Caller("u", "t", "r"), 5)
    assert status == "error"


def test_every_trait_is_described() -> None:
    page = tree.text(DOCS / "extending.md")
    declared = {field.name for field in fields(Traits)} - {"reads_kept"}
    assert {name for name in declared if f"| `{name}` |" in page} == declared


def example(name: str, folder: Path) -> Any:
    """A file that the page shows, as a module."""
    blocks = re.findall(r"```python\n(.*?)```", tree.text(DOCS / "extending.md"), flags=re.DOTALL)
    [code] = [block for block in blocks if block.startswith(f"# {name}\n")]
    file = folder / Path(name).name
    file.write_text(code)
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py").replace("/", "."), file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
