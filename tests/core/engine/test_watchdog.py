"""The watchdog in a process of its own; tests/e2e/test_stuck_workers.py has real workers."""

from __future__ import annotations

import asyncio
import sys
import time

from tests.support.stack import ROOT

PROGRAM = """
import asyncio, time
import uvloop
from core.engine import watchdog
from core.engine.watchdog import watched

watchdog.LAST_RESORT, watchdog.LAST_RESORT_BEAT = 4.0, 0.5

class Turns:
    running = {}
    busy = asyncio.Event()

async def main():
    Turns.busy.set()
    async with watched(Turns(), lambda: 600.0, "unix:///nowhere"):
        await asyncio.sleep(5)
        print("alive", flush=True)
        STEP
        await asyncio.sleep(0)
        print("done", flush=True)

uvloop.run(main())
"""


async def run(step: str) -> tuple[int | None, str, str]:
    """Exit code and both outputs of a process whose loop is held up by a step."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM.replace("STEP", step),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 40)
    return process.returncode, out.decode(), err.decode()


async def test_code_that_hears_no_alarm_ends_its_process_and_says_where() -> None:
    began = time.monotonic()
    code, out, err = await run("3 ** (10 ** 9)")
    assert (code, out) == (1, "alive\n")
    assert "in main" in err
    assert time.monotonic() - began < 30


async def test_a_long_step_that_nobody_minds_goes_on() -> None:
    code, out, err = await run("time.sleep(1.5)")
    assert (code, out, err) == (0, "alive\ndone\n", "")
