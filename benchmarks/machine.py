"""What processes cost, and on what machine (Linux: /proc)."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
BUSY = 0.7
"""Load average from which figures are not to be trusted."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Mebibytes. ``pss`` shares what several processes map between them."""

    rss: float
    pss: float


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of the processes so far.

    Read from their CPU clocks, which count nanoseconds; /proc/<pid>/stat counts hundredths.
    Raises OSError when one has ended: a figure without it would be wrong.
    """
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    clock = (~pid << 3) | 2  # clock_getcpuclockid(3), which Python does not offer
    return time.clock_gettime(clock)


def group(pid: int) -> list[int]:
    """A process and its children. What those start passes: the server's rewriting of its log."""
    entries = [entry for entry in PROC.iterdir() if entry.name.isdigit()]
    return [pid, *(int(entry.name) for entry in entries if _parent(entry) == pid)]


def _parent(entry: Path) -> int:
    try:
        # The name in brackets may hold anything, brackets too.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def role(pid: int) -> str:
    """What a process of ours is, for tables."""
    words = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    known = {"up": "supervisor", "api": "web", "worker": "worker"}
    return next((known[word] for word in words if word in known), "embedded server")


def memory(pids: Iterable[int]) -> Memory:
    """What the processes hold."""
    rss = pss = 0
    for pid in pids:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
        rss += _field(text, "Rss")
        pss += _field(text, "Pss")
    return Memory(rss / 1024, pss / 1024)


def _field(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, flags=re.MULTILINE)
    return int(found[1]) if found else 0


def describe() -> dict[str, object]:
    """The machine and how busy it is now."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", (PROC / "cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
