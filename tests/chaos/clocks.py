"""Wall clocks that can be set while processes run; their monotonic clocks know nothing of it.

libfaketime is loaded into each process and reads the file of that process's clock at each look.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

LIBRARY = "libfaketimeMT.so.1"
PLACES = ("usr/lib/*/faketime", "usr/lib*/faketime", "usr/local/lib/faketime")
"""Where distributions put it, from the root."""

SHARED_MEMORY = Path("/dev/shm")
MISSING = "libfaketime is not installed (Debian: faketime), so clocks cannot be set"


def find_library() -> Path | None:
    """libfaketime for programs with threads, if it is installed."""
    root = Path("/")
    found = (path for place in PLACES for path in root.glob(f"{place}/{LIBRARY}"))
    return next(found, None)


class Clocks:
    """The clocks of a world, by name. Without a library they are the machine's."""

    def __init__(self, folder: Path, library: Path | None) -> None:
        self._folder = folder
        self._library = library
        self._names: set[str] = set()
        self.lead = 0
        """The farthest that the clock of Redis ever was ahead, in seconds."""

    def environment(self, name: str) -> dict[str, str]:
        """For a process that looks at this clock."""
        if self._library is None:
            return {}
        if name not in self._names:
            self._names.add(name)
            self._write(name, 0)
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file(name)),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def command(self, name: str, program: tuple[str, ...]) -> tuple[str, ...]:
        """The program with this clock."""
        values = [f"{key}={value}" for key, value in self.environment(name).items()]
        return ("/usr/bin/env", *values, *program) if values else program

    def set(self, name: str, seconds: int) -> None:
        """From now on the clock is so many seconds ahead of the right time, or behind it."""
        assert self._library is not None, MISSING
        if name == "redis":
            self.lead = max(self.lead, seconds)
        self._write(name, seconds)

    def set_right(self) -> None:
        """All show the right time again."""
        for name in self._names:
            self._write(name, 0)

    def forget(self, pid: int) -> None:
        """Remove what a killed process left behind: another one may get its number."""
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            with contextlib.suppress(OSError):
                (SHARED_MEMORY / name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.clock"

    def _write(self, name: str, seconds: int) -> None:
        # Nobody may read half of it.
        new = self._folder / f"{name}.clock.new"
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.replace(self._file(name))
