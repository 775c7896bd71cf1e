"""Commands of ours as real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

FRONT = Path(__file__).resolve().parents[2] / "assistant.py"


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


def environment(home: Path, **changes: str) -> dict[str, str]:
    """Nothing of the machine but the path; a folder without a .env file."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ASSISTANT_HOME": str(home),
        "ASSISTANT_ENV_FILE": str(home / ".env"),
        **changes,
    }


async def start(home: Path, *arguments: str, **changes: str) -> asyncio.subprocess.Process:
    """Start `assistant …` with pipes."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(FRONT),
        *arguments,
        env=environment(home, **changes),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def command(home: Path, *arguments: str, given: str = "", **changes: str) -> Done:
    """Run `assistant …` to its end."""
    process = await start(home, *arguments, **changes)
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
