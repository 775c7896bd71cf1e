"""The page about the architecture knows every Redis key and every file that it names."""

from __future__ import annotations

import re

from tests.style import tree

DOCS = tree.ROOT / "docs"


def test_the_table_of_keys_is_up_to_date() -> None:
    reference = tree.script(DOCS / "keys_reference.py")
    page = tree.text(DOCS / "architecture.md")
    current = page == reference.page(page)
    assert current, "run `make docs`"


def test_every_file_that_is_named_exists() -> None:
    pages = [tree.text(DOCS / name) for name in ("architecture.md", "extending.md")]
    named = {path for page in pages for path in re.findall(r"`([a-z_/-]+\.(?:py|lua|js))", page)}
    known = {tree.name(path) for path in tree.committed()}
    inside = {path for path in named if "/" in path}
    assert inside - known == set()
