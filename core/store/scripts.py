"""The Lua scripts as text."""

from __future__ import annotations

from pathlib import Path

SCRIPT_FOLDER = Path(__file__).parent / "lua"


def read_scripts(folder: Path = SCRIPT_FOLDER) -> dict[str, str]:
    """The Lua scripts by file name without ending, each with the prelude in front."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.lua"))}
    prelude = texts.pop("_prelude")
    return {name: prelude + text for name, text in texts.items()}
