"""The registry of key kinds: each is declared rightly, and one declaration is enough."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.store import keys
from core.store.kinds import Kind

ROOT = Path(__file__).resolve().parents[3]

NAMES = {id(value): name for name, value in vars(keys).items()}


def name_of(kind: Kind) -> str:
    return NAMES[id(kind.name)]


def example(kind: Kind) -> str:
    """One name of the kind."""
    words = re.findall(r"<(.*?)>", kind.part)
    subject = [] if kind.subject == "installation" else ["x"]
    return kind.name(*subject, *(["w:1"] if words else []))


def test_a_new_key_of_a_thread_needs_nothing_but_its_declaration() -> None:
    kinds = keys.KINDS.copy()
    sketch = kinds.thread_key(
        "sketch", "hash", owner="tools.sketch", lives="thread", holds="a drawing"
    )
    name = sketch("t_1")
    assert name == "asst:{t_1}:sketch"
    assert {name} == set(kinds.of_thread("t_1")) - set(keys.of_thread("t_1"))
    assert {name} == set(kinds.lasting("t_1")) - set(keys.lasting("t_1"))
    kind = kinds.kind_of(name)
    assert kind is not None
    assert (kind.name, kind.backup, kind.lives) == (sketch, "kept", "thread")
    assert keys.KINDS.kind_of(name) is None, "the copy is a registry of its own"


def test_a_key_with_a_time_to_live_of_its_own_is_deleted_but_not_given_another() -> None:
    kinds = keys.KINDS.copy()
    draft = kinds.thread_key("draft", "string", owner="x", ttl=7200, holds="x", backup="left out")
    assert draft("t") in kinds.of_thread("t")
    assert draft("t") not in kinds.lasting("t")
    found = kinds.kind_of(draft("t"))
    assert found is not None
    assert (found.lives, found.backup) == ("2 hours", "left out")


def test_a_declaration_that_would_leave_keys_behind_is_refused() -> None:
    kinds = keys.KINDS.copy()
    with pytest.raises(ValueError, match="how long does 'notes' live"):
        kinds.thread_key("notes", "hash", owner="x", holds="x")
    with pytest.raises(ValueError, match="nothing would delete it"):
        kinds.thread_keys("note:<id>", "hash", owner="x", lives="thread", holds="x")
    with pytest.raises(ValueError, match="two kinds"):
        kinds.thread_key("meta", "hash", owner="x", lives="thread", holds="x")


@pytest.mark.parametrize("kind", list(keys.KINDS), ids=name_of)
def test_a_name_is_known_by_its_kind(kind: Kind) -> None:
    name = example(kind)
    assert keys.KINDS.kind_of(name) is kind
    assert keys.is_ours(name)
    assert keys.KINDS.kind_of(f"{name}x") is (None if kind.fixed else kind)


@pytest.mark.parametrize("kind", list(keys.KINDS), ids=name_of)
def test_the_owner_is_a_module_that_uses_the_key(kind: Kind) -> None:
    path = ROOT / f"{kind.owner.replace('.', '/')}.py"
    assert path.is_file()
    assert re.search(rf"\bkeys\.{name_of(kind)}\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name",
    ["asst:{t}", "asst:{t}:new", "asst:u:{u}:new", "asst:auth:x:1", "asst:new", "other:meta"],
)
def test_names_of_no_kind_are_nothing_special(name: str) -> None:
    assert keys.KINDS.kind_of(name) is None
    assert not keys.is_transient(name)
