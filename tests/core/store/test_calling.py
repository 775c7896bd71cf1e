"""Scripts are called by the names of what they take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core.store import scripts
from core.store.calling import Args, Call, Declared, Key, Keys, head, load, roles, script
from core.store.client import Store
from graph.checkpoint import scripts as of_saver

ROOMS = (
    (scripts.SCRIPT_FOLDER, scripts.SCRIPTS),
    (of_saver.SCRIPT_FOLDER, of_saver.SCRIPTS),
)
EVERY = [(folder, declared) for folder, room in ROOMS for declared in room]

LUA_WORDS = """
    and break do else elseif end false for function if in local nil not or repeat return then true
    until while KEYS ARGV redis cjson cmsgpack string table math error ipairs pairs next pcall
    tonumber tostring type unpack select
"""


@script
def everything(*, first: Key, more: Keys, number: int, rest: Args) -> Call:
    """Takes something of each kind."""
    ...


def code(path: Path) -> str:
    """A script without comments and strings."""
    text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
    return re.sub(r"'[^'\n]*'", "''", text)


def words(path: Path) -> set[str]:
    """All names in a script's code."""
    return set(re.findall(r"[A-Za-z_]\w*", code(path)))


@pytest.mark.parametrize(("folder", "declared"), ROOMS)
def test_every_script_is_declared(folder: Path, declared: tuple[Declared, ...]) -> None:
    files = {path.stem for path in folder.glob("*.lua")} - {"_prelude"}
    assert files == {one.__name__ for one in declared}
    assert len(files) == len(declared)


@pytest.mark.parametrize(("folder", "declared"), EVERY)
def test_a_script_uses_all_that_it_takes(folder: Path, declared: Declared) -> None:
    assert set(roles(declared)) <= words(folder / f"{declared.__name__}.lua")


@pytest.mark.parametrize(("folder", "_"), ROOMS)
def test_scripts_know_names_only(folder: Path, _: Any) -> None:
    for path in folder.glob("*.lua"):
        assert not words(path) & {"KEYS", "ARGV"}, path.name


@pytest.mark.parametrize(("folder", "declared"), EVERY)
def test_no_name_hides_one_of_lua_or_of_the_prelude(folder: Path, declared: Declared) -> None:
    helpers = re.findall(r"^local (?:function )?(\w+)", code(folder / "_prelude.lua"), re.M)
    assert not set(roles(declared)) & {*LUA_WORDS.split(), *helpers}


def test_a_call_packs_in_the_order_of_the_declaration() -> None:
    call = everything(rest=(b"x", 2), number=1, more=("k2", "k3"), first="k1")
    assert call == ("everything", 3, "k1", "k2", "k3", 1, b"x", 2)
    assert everything(first="k1", more=(), number=1, rest=()) == ("everything", 1, "k1", 1)


@pytest.mark.parametrize(
    "given",
    [
        {"first": "k", "more": (), "number": 1},
        {"first": "k", "more": (), "number": 1, "rest": (), "surplus": 1},
    ],
)
def test_a_missing_or_surplus_name_is_an_error_at_once(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"rest|surplus"):
        everything(**given)


def test_tails_come_last() -> None:
    def mixed(*, rest: Args, number: int) -> Call:
        raise NotImplementedError

    with pytest.raises(TypeError, match="mixed"):
        script(mixed)


def test_a_type_that_says_neither_key_nor_argument_is_an_error() -> None:
    def odd(*, name: list[str]) -> Call:
        raise NotImplementedError

    with pytest.raises(TypeError, match="odd"):
        script(odd)


async def test_the_script_sees_the_names(store: Store, tmp_path: Path) -> None:
    (tmp_path / "_prelude.lua").write_text("local function pair(a, b) return {a, b} end\n")
    (tmp_path / "everything.lua").write_text("return {first, more, pair(number, rest)}\n")
    own = Store(store.redis, load([everything], tmp_path))
    many = [str(n) for n in range(20_000)]
    call = everything(first="k1", more=("k2", "k3"), number=1, rest=many)
    assert await own.script(call) == [
        b"k1",
        [b"k2", b"k3"],
        [b"1", [word.encode() for word in many]],
    ]


def test_texts_are_the_same_each_time() -> None:
    assert scripts.read_scripts() == scripts.read_scripts()
    assert head(roles(everything)).startswith("local first = KEYS[1]\n")
