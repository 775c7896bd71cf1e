"""`assistant doctor`: look at everything that has to work, and say how to fix what does not."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from api.commands.doctor import local as local
from api.commands.doctor.checks import CHECKS, Check, looked
from api.commands.doctor.finding import Finding, Status, fail
from api.commands.doctor.look import looking
from core.errors import ConfigError
from core.logs import Redactor, set_up_logging
from core.settings.groups import secrets_of
from core.settings.source import Loaded, load

COLOURS: dict[Status, str] = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m"}
PLAIN = "\x1b[0m"


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the report; exit code 1 when something fails."""
    report = examine()
    print(report.as_json() if args.json else report.as_text(colour=sys.stdout.isatty()))
    return 0 if report.good else 1


@dataclass
class Report:
    """What was found, and every setting that was changed."""

    findings: list[Finding] = field(default_factory=list[Finding])
    settings: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    redact: Redactor = field(default_factory=Redactor, repr=False)

    @property
    def good(self) -> bool:
        """Nothing fails."""
        return all(finding.status != "fail" for finding in self.findings)

    def as_json(self) -> str:
        """For programs."""
        checks = [asdict(finding) for finding in self.findings]
        whole = {"ok": self.good, "checks": checks, "settings": self.settings}
        # Before and after quoting a secret may look different; values are redacted as they are.
        return json.dumps(_redacted(whole, self.redact), ensure_ascii=False, indent=2)

    def as_text(self, *, colour: bool) -> str:
        """For people."""
        lines: list[str] = []
        for finding in self.findings:
            mark = finding.status.ljust(4)
            mark = f"{COLOURS[finding.status]}{mark}{PLAIN}" if colour else mark
            lines.append(f"{mark}  {finding.name}: {finding.detail}")
            if finding.fix:
                lines.append(f"      → {finding.fix}")
        if self.settings:
            lines += ["", "Settings that are not at their default:"]
            lines += [f"  {s['name']} = {s['value']}  ({s['source']})" for s in self.settings]
        lines += ["", self._verdict()]
        return self.redact("\n".join(lines))

    def _verdict(self) -> str:
        failed = sum(finding.status == "fail" for finding in self.findings)
        warned = sum(finding.status == "warn" for finding in self.findings)
        if not failed and not warned:
            return "All is well."
        return f"{failed} to fix, {warned} to know about."


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    match value:
        case str():
            return redact(value)
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {name: _redacted(item, redact) for name, item in items}
        case list():
            return [_redacted(item, redact) for item in cast("list[Any]", value)]
        case _:
            return value


def examine(checks: Sequence[Check] = CHECKS) -> Report:
    """Look at everything. A setting that cannot be read ends it early: all else depends on them."""
    report = Report([local.python()])
    try:
        loaded = load()
    except ConfigError as error:
        fix = "correct it where the message says; docs/settings.md lists all settings"
        report.findings.append(fail("settings", error.detail, fix))
        return report
    set_up_logging(loaded.settings.log, loaded.secrets())
    asyncio.run(_examine(report, loaded, checks))
    return report


async def _examine(report: Report, loaded: Loaded, checks: Sequence[Check]) -> None:
    async with looking(loaded) as look:
        report.redact = Redactor([*loaded.secrets(), *secrets_of(look.settings)])
        report.settings = local.changed_settings(look.settings, look.source)
        for check in checks:
            report.findings += await looked(check, look)
