"""Front door: `python assistant.py …` in a checkout, `assistant …` once installed."""

from __future__ import annotations

import sys
from pathlib import Path

# Installed, our packages live in _assistant/ so that names like `tools` never meet foreign ones.
_PRIVATE = Path(__file__).resolve().parent / "_assistant"
if _PRIVATE.is_dir():
    sys.path.insert(0, str(_PRIVATE))

from api import cli  # noqa: E402 - found through the line above


def main() -> int:
    """Run the command line; the value is the exit code."""
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
