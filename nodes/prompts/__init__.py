"""The prompts, as Markdown files beside this one."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def prompt(name: str) -> str:
    """The text of ``<name>.md``, without the newline at its end."""
    return (Path(__file__).parent / f"{name}.md").read_text(encoding="utf-8").strip()
