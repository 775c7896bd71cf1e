"""How far a long command is, on one line of standard error, when people look at it."""

from __future__ import annotations

import sys

WIDTH = 30


class ProgressLine:
    """Call it with steps done and all steps."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self._last = -1

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // total if total else 100
        if not self._shown or percent == self._last:
            return
        self._last = percent
        bar = "█" * (WIDTH * percent // 100)
        print(f"\r{self._what} {bar:<{WIDTH}} {percent:3d} %", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave an empty line behind."""
        if self._last >= 0:
            print(f"\r{' ' * (len(self._what) + WIDTH + 8)}\r", end="", file=sys.stderr, flush=True)
