"""What we import is declared: a dependency of a dependency may go away without notice."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.style import tree

PROJECT = tomllib.loads(tree.text(tree.ROOT / "pyproject.toml"))["project"]
PRODUCT: list[str] = PROJECT["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OURS = frozenset({*tree.PACKAGES, "assistant", "benchmarks", "docs", "tests"})


def plain(name: str) -> str:
    """The normal form of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    """Names of the required distributions."""
    return {plain(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def everything() -> list[str]:
    """All requirements, those of the extras too."""
    return [*PRODUCT, *(entry for extra in EXTRAS.values() for entry in extra)]


def undeclared(folders: frozenset[str], allowed: set[str]) -> set[str]:
    """``file: package`` of imports that no allowed distribution provides."""
    owners = packages_distributions()
    found: set[str] = set()
    for path in tree.ending(".py"):
        if tree.name(path).split("/")[0] not in folders:
            continue
        for package, _ in tree.imported(tree.parsed(path)):
            known = package in OURS or package in sys.stdlib_module_names
            if not known and not {plain(owner) for owner in owners.get(package, ())} & allowed:
                found.add(f"{tree.name(path)}: {package}")
    return found


def test_what_the_product_imports_is_declared() -> None:
    optional = (*EXTRAS["redis-stack"], *EXTRAS["community"], *EXTRAS["otel"])
    allowed = declared([*PRODUCT, *optional])
    assert undeclared(frozenset({*tree.PACKAGES, "assistant.py"}), allowed) == set()


def test_what_tests_and_benchmarks_import_is_declared() -> None:
    assert undeclared(frozenset({"tests", "benchmarks", "docs"}), declared(everything())) == set()


def test_every_dependency_is_pinned_once() -> None:
    lines = tree.text(tree.ROOT / "constraints.txt").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", pin)] == []
    names = [pin.split("==")[0] for pin in pins]
    assert len(names) == len(set(names))
    assert declared(everything()) - set(names) == set()
