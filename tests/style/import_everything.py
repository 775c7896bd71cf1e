"""Run in a process of its own: import modules, report work done at import and what came along.

Usage: import_everything.py MODULE…; prints {"deeds": […], "failed": […], "loaded": […]}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What reaches outside the process. Dependencies make a socket and bind it to learn whether the
# machine has IPv6; nobody can reach that one, so only connecting and sending count.
OUTSIDE = frozenset(
    {
        "os.exec", "os.fork", "os.forkpty", "os.mkdir", "os.posix_spawn", "os.remove", "os.rename",
        "os.rmdir", "os.system", "socket.connect", "socket.getaddrinfo",
        "socket.gethostbyname", "socket.sendto", "subprocess.Popen", "tempfile.mkdtemp",
        "tempfile.mkstemp",
    }
)  # fmt: skip

deeds: list[str] = []


def culprit() -> str:
    """The innermost line of ours or of a dependency that is not the import machinery."""
    frames = [f for f in traceback.extract_stack() if "importlib" not in f.filename]
    return " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(frames[:-2][-6:]))


def watch(event: str, args: tuple[object, ...]) -> None:
    """Audit hook: note what an import may not do."""
    flags = args[2] if event == "open" and isinstance(args[2], int) else 0
    # Reading files is how importing works; os.devnull is nowhere.
    if event in OUTSIDE or (flags & WRITING and args[0] != os.devnull):
        deeds.append(f"{event} {args[:1]} by {culprit()}")


def main() -> None:
    """Import everything; a module that fails is reported with its error."""
    failed: list[str] = []
    sys.addaudithook(watch)
    for module in sys.argv[1:]:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever a module raises is the finding
            failed.append(f"{module}: {type(error).__name__}: {error}")
    print(json.dumps({"deeds": deeds, "failed": failed, "loaded": sorted(sys.modules)}))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
