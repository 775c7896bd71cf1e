"""The front door of an assistant that has one more channel."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> int:
    """Run the command line; the value is the exit code."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    channels = importlib.import_module("channels")
    echo = importlib.import_module("tests.support.echo_channel").ECHO
    # Before all else is loaded, which reads the list then.
    vars(channels)["CHANNELS"] = (*channels.CHANNELS, echo)
    vars(importlib.import_module("api.commands.up"))["FRONT_DOOR"] = Path(__file__).resolve()
    return int(importlib.import_module("api.cli").main())


if __name__ == "__main__":
    sys.exit(main())
