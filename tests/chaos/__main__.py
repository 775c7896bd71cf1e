"""`python -m tests.chaos --seed N --faults N`: one campaign. Exit code 1: a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from tests.chaos.campaign import run
from tests.chaos.faults import FAULTS


def main() -> int:
    """Run it and print the summary."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--short", action="store_true", help="as in `make test`: no long outages")
    parser.add_argument("--mostly", default="", choices=[f.name for f in FAULTS], metavar="FAULT")
    parser.add_argument("--timeline", action="store_true", help="print what happened when")
    args = parser.parse_args()
    # As Ctrl-C does: everything that was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = asyncio.run(run(args.seed, args.faults, long=not args.short, mostly=args.mostly))
    if args.timeline:
        sys.stdout.write("\n".join([*report.timeline, ""]))
    sys.stdout.write(report.summary() + "\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
