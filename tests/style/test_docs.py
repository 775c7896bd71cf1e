"""The documentation says what is there: settings, events, commands and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from core.events import EVENT_TYPES
from core.settings.groups import GROUPS
from core.settings.source import load
from tests.style import tree

PAGES = tuple(path for path in tree.ending(".md") if tree.name(path).startswith("docs/"))
READABLE = (tree.ROOT / "README.md", tree.ROOT / "CHANGELOG.md", *PAGES)
DOCS = tree.ROOT / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/settings_reference.py, which belongs to no package."""
    return tree.script(DOCS / "settings_reference.py")


def test_the_settings_page_is_up_to_date(reference: ModuleType) -> None:
    current = tree.text(DOCS / "settings.md") == reference.page()
    assert current, "run `make docs`"


def test_the_config_file_is_up_to_date(reference: ModuleType) -> None:
    current = tree.text(tree.ROOT / "config" / "default.yaml") == reference.config()
    assert current, "run `make docs`"


def test_every_setting_is_documented() -> None:
    page = tree.text(DOCS / "settings.md")
    names = [f"{group}.{name}" for group, model in GROUPS.items() for name in model.model_fields]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_config_file_holds_exactly_the_defaults(tmp_path: Path) -> None:
    content = yaml.safe_load(tree.text(tree.ROOT / "config" / "default.yaml"))
    complete = {group: set(model.model_fields) for group, model in GROUPS.items()}
    assert {group: set(values) for group, values in content.items()} == complete
    loaded = load({"ASSISTANT_HOME": str(tmp_path)})
    assert {name for name, source in loaded.sources.items() if source != "default"} == set()
    for group, model in GROUPS.items():
        assert getattr(loaded.settings, group) == model()


def test_every_event_is_documented() -> None:
    page = tree.text(DOCS / "api.md")
    assert [event.type for event in EVENT_TYPES if f"`{event.type}" not in page] == []


def test_every_page_is_reachable_from_the_index() -> None:
    index = tree.text(DOCS / "index.md")
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES} - {"index.md"}
    assert {page for page in pages if f"({page}" not in index} == set()


def commands(page: str) -> Iterator[str]:
    """The command lines in the page's shell blocks, without prompts and comments."""
    for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", page, flags=re.DOTALL):
        for line in block.splitlines():
            bare = line.split(" #")[0].strip().removeprefix("$ ")
            if bare and not bare.startswith("#"):
                yield bare


def test_make_commands_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", tree.text(tree.ROOT / "Makefile"), flags=re.MULTILINE))
    for path in READABLE:
        page = tree.text(path)
        shown = {c.split()[1] for c in commands(page) if c.startswith("make ")}
        shown |= set(re.findall(r"`make ([a-z-]+)", page))
        assert shown <= targets, tree.name(path)


def test_the_readme_names_the_two_commands() -> None:
    assert {"make up", "make test"} <= set(commands(tree.text(tree.ROOT / "README.md")))


def anchors(page: str) -> set[str]:
    """The fragment names that headings get."""
    headings = re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


def test_links_between_our_pages_resolve() -> None:
    broken: list[str] = []
    for path in READABLE:
        prose = re.sub(r"^```.*?^```", "", tree.text(path), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            target, _, fragment = link.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            found = (path.parent / target).resolve() if target else path
            if not found.exists() or (fragment and fragment not in anchors(tree.text(found))):
                broken.append(f"{tree.name(path)}: {link}")
    assert broken == []
