"""The product's worker with one tool more, which never gives the event loop back.

A script, started by tests in place of `assistant worker`.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import uvloop

from api.commands.process import process_settings, running_store
from core.services import Services
from core.settings.source import Loaded
from graph.process import run_worker
from tools.base import InjectedCaller, Tool, Traits, tool
from tools.toolsets import TOOLSETS

FOR_EVER = 3600


def hanging(_services: Services) -> Sequence[Tool]:
    """hang."""

    async def hang(caller: InjectedCaller, way: str) -> str:
        """Hang.

        Args:
            caller: Set by the assistant.
            way: How.
        """
        match way:
            case "computes":
                while True:
                    pass
            case "waits":
                time.sleep(FOR_EVER)  # noqa: ASYNC251 - that is what it is for
            case "matches":
                re.match(r"(a+)+b", "a" * 60)
            case _:
                swallow_everything()
        return caller.run_id

    return (tool(hang, Traits(effect="write", repeatable=True)),)


def swallow_everything() -> None:
    """No exception ends it."""
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001, S112 - that is what it is for
            continue


async def work(loaded: Loaded, url: str) -> None:
    """What `assistant worker` does, with the tool."""
    await run_worker(loaded, url, toolsets=(*TOOLSETS, hanging))


if __name__ == "__main__":
    settings = process_settings()
    uvloop.run(work(settings, running_store(settings)))
