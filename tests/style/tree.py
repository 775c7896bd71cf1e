"""What the project itself consists of: every file that is ours, parsed once."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "channels", "core", "dashboard", "graph", "nodes", "tools")

# Made by tools: not in version control.
SKIPPED_FOLDERS = frozenset({"__pycache__", "bench-results", "build", "dist", "node_modules"})
# Other people's work that we ship as it is, and what makes it (needs Node and is not shipped).
VENDORED = ROOT / "dashboard" / "static" / "vendor"
VENDOR_BUILD = ROOT / "dashboard" / "vendor"
BINARY = frozenset(
    {".backup", ".gif", ".gz", ".ico", ".jpg", ".mo", ".ogg", ".png", ".woff2", ".zip"}
)


@cache
def committed() -> tuple[Path, ...]:
    """Every text file that belongs into version control, sorted."""
    return tuple(sorted(_walk(ROOT)))


@cache
def files() -> tuple[Path, ...]:
    """The committed files that are written by us."""
    return tuple(path for path in committed() if VENDORED not in path.parents)


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir():
            hidden = path.name.startswith(".") and path.name not in (".ci", ".github")
            if not hidden and path.name not in SKIPPED_FOLDERS and path.suffix != ".egg-info":
                yield from _walk(path)
        elif path.suffix not in BINARY and path.name not in (".env", ".git"):
            yield path


@cache
def shipped() -> tuple[Path, ...]:
    """What a wheel is built from, vendored and binary files included."""
    folders = (*PACKAGES, "config")
    inside = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    kept = (
        path
        for path in inside
        if path.is_file() and "__pycache__" not in path.parts and VENDOR_BUILD not in path.parents
    )
    single = (".gitignore", "assistant.py", "pyproject.toml", "README.md", "LICENSE")
    return (*(ROOT / entry for entry in single), *sorted(kept))


def ending(*suffixes: str) -> tuple[Path, ...]:
    """The files with one of these suffixes."""
    return tuple(path for path in files() if path.suffix in suffixes)


def name(path: Path) -> str:
    """The path as it is written in the documentation: relative, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def text(path: Path) -> str:
    """The content of one of our text files."""
    return path.read_text(encoding="utf-8")


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(text(path), filename=name(path))


def script(path: Path) -> ModuleType:
    """A file that belongs to no package, imported."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def modules() -> tuple[str, ...]:
    """Dotted names of all modules that ship."""
    found = (path for path in ending(".py") if name(path).split("/")[0] in PACKAGES)
    dotted = (name(path).removesuffix(".py").removesuffix("/__init__") for path in found)
    return tuple(sorted(entry.replace("/", ".") for entry in dotted))


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a chain of attributes, else ""."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            left = dotted(node.value)
            return f"{left}.{node.attr}" if left else ""
        case _:
            return ""


def imported(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Top-level names of everything that a file imports, with the line."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0], node.lineno
