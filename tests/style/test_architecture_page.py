"""The page about the architecture knows every Redis key, and the example of a skill works."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any, cast

from core.services import Services
from tests.style import tree
from tools.base import Caller, Toolbox

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


async def test_the_example_of_a_skill_works(tmp_path: Path) -> None:
    [code] = re.findall(
        r"```python\n(# tools/.*?)```", tree.text(DOCS / "extending.md"), flags=re.DOTALL
    )
    file = tmp_path / "dice.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("dice", file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    toolbox = Toolbox(module.toolset(cast("Services", None)))
    [schema] = toolbox.everything.schemas
    assert list(schema["function"]["parameters"]["properties"]) == ["sides"]
    tool: Any = toolbox.skills["throw_dice"].tool
    thrown = await tool.ainvoke({"sides": 2, "caller": Caller("u", "t", "r")})
    assert thrown in ("1", "2")
