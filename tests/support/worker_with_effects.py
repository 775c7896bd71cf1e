"""The product's worker with one tool more, whose effect can be counted: it adds a line to a file.

A script, started by tests in place of `assistant worker`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import orjson
import uvloop

from api.commands.process import process_settings, running_store
from core.errors import AssistantError
from core.services import Services
from core.settings.source import Loaded
from graph.process import run_worker
from tools.base import InjectedCaller, Tool, Traits, tool
from tools.toolsets import TOOLSETS

EFFECTS_FILE = "effects.jsonl"
HALF = 0.05
"""Seconds before the effect, and as long after it."""


def effects(services: Services) -> Sequence[Tool]:
    """append_line."""
    path = services.settings.current.home / EFFECTS_FILE

    async def append_line(caller: InjectedCaller, label: str) -> str:
        """Add a line to a file. Doing it twice adds it twice.

        Args:
            caller: Set by the assistant.
            label: What the line says.
        """
        await asyncio.sleep(HALF)
        append(path, {"label": label, "run": caller.run_id, "pid": os.getpid(), "at": time.time()})
        await asyncio.sleep(HALF)
        return f"appended {label}"

    return (tool(append_line, Traits(effect="write", repeatable=False)),)


def append(path: Path, entry: dict[str, object]) -> None:
    """One write of a line to a file opened for appending: those of several processes never mix."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, orjson.dumps(entry) + b"\n")
    finally:
        os.close(fd)


async def work(loaded: Loaded, url: str) -> None:
    """What `assistant worker` does, with the tool."""
    await run_worker(loaded, url, toolsets=(*TOOLSETS, effects))


def main() -> int:
    """The value is the exit code, as of `assistant worker`."""
    settings = process_settings()
    try:
        uvloop.run(work(settings, running_store(settings)))
    except AssistantError as error:
        sys.stderr.write(f"assistant: {error.detail}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
