"""Starts processes of the product in milliseconds: all is imported once, each process is a fork.

A script. Reads requests, one JSON object a line, and answers with the pid and later the exit code:
starting Python anew a thousand times would take longer than all that the campaign wants to see.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import orjson

from api import cli
from api.commands import serve
from core.settings.source import LIFELINE_VARIABLE
from tests.support import worker_with_effects

COMMANDS: dict[str, Callable[[], int]] = {
    "api": lambda: cli.main(["api"]),
    "worker": worker_with_effects.main,
}


def become(request: dict[str, Any], lifeline: tuple[int, int]) -> int:
    """In the fork: be the process that was asked for."""
    os.close(lifeline[1])
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ[LIFELINE_VARIABLE] = str(lifeline[0])
    return COMMANDS[request["command"]]()


def start(request: dict[str, Any], lifeline: tuple[int, int]) -> int:
    """Fork; the value is the pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = become(request, lifeline)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the fork must never return into the loop below
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def say(answer: dict[str, int]) -> None:
    """One line to the one that asks."""
    os.write(1, orjson.dumps(answer) + b"\n")


def reap() -> None:
    """Tell who has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def main() -> None:
    """Until standard input ends."""
    assert serve
    gc.collect()
    gc.freeze()
    lifeline = os.pipe()  # ends with this process, and those it started end with it
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake)
    say({"ready": os.getpid()})
    buffer = b""
    while True:
        readable, _, _ = select.select([0, woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            reap()
        if 0 in readable:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                say({"started": start(orjson.loads(line), lifeline)})


if __name__ == "__main__":
    main()
