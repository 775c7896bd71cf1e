"""`assistant doctor`: look at everything that has to work, and say how to mend what does not."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from redis.exceptions import RedisError

from api.announce import read_address
from api.commands.doctor import local as local
from api.commands.doctor.finding import Finding, Status, fail, warn
from api.commands.doctor.servers import server_findings
from api.commands.doctor.store import store_findings
from core.errors import AssistantError, ConfigError, StoreUnavailable
from core.home.embedded import running_server, socket_url
from core.home.secrets import open_box
from core.live_settings.live import LiveSettings
from core.logs import Redactor, set_up_logging
from core.settings.groups import Settings, secrets_of
from core.settings.source import Loaded, Source, load
from core.store.client import Store
from core.store.connection import connect
from core.store.errors import translate
from core.store.redis import RedisClient
from core.store.scripts import read_scripts

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
        return f"{failed} to mend, {warned} to know about."


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


def examine() -> Report:
    """Look at everything. A setting that cannot be read ends it early: all else depends on them."""
    report = Report([local.python()])
    try:
        loaded = load()
    except ConfigError as error:
        fix = "correct it where the message says; docs/settings.md lists all settings"
        report.findings.append(fail("settings", error.detail, fix))
        return report
    set_up_logging(loaded.settings.log, secrets_of(loaded.settings))
    report.redact = Redactor(secrets_of(loaded.settings))
    report.findings += local.slips()
    report.findings += local.not_yet(loaded)
    report.findings += local.home_folder(loaded.settings.home)
    asyncio.run(_examine(report, loaded))
    return report


async def _examine(report: Report, loaded: Loaded) -> None:
    """The store first: it holds settings that the rest depends on."""
    settings, home = loaded.settings, loaded.settings.home
    running = local.is_running(home)
    current: Loaded | LiveSettings = loaded
    if settings.store.redis_url or await running_server(home) is not None:
        current = await _store(report, loaded)
    else:
        report.findings += _not_running(settings, running=running)
    settings = current.settings if isinstance(current, Loaded) else current.current
    url = read_address(home)
    if not url and not running and not local.is_running(home / "demo"):
        report.findings += local.free_port(settings)
    report.findings += await server_findings(url, settings.model, expected=running)
    report.findings += local.cloud(settings)
    report.settings = local.changed_settings(settings, _sources(current))
    report.redact = Redactor([*secrets_of(loaded.settings), *secrets_of(settings)])


def _sources(current: Loaded | LiveSettings) -> Callable[[str, str], Source]:
    if isinstance(current, LiveSettings):
        return current.source
    return lambda group, name: current.sources[f"{group}.{name}"]


async def _store(report: Report, loaded: Loaded) -> Loaded | LiveSettings:
    """Look at the store; the settings as running processes see them, if it can be read."""
    settings = loaded.settings
    redis = connect(settings.store.redis_url or socket_url(settings.home))
    try:
        report.findings += await store_findings(redis, settings)
        return await _saved(redis, loaded)
    except (RedisError, OSError) as error:
        report.findings.append(_store_error(error, settings))
    except AssistantError as error:
        report.findings.append(fail("settings", error.detail, "do what the message says"))
    finally:
        await redis.aclose()
    return loaded


async def _saved(redis: RedisClient, loaded: Loaded) -> LiveSettings:
    """The settings as running processes see them, with what was saved in the dashboard."""
    live = LiveSettings(loaded, Store(redis, read_scripts()), open_box(loaded.settings.home))
    await live.refresh()
    return live


def _store_error(error: Exception, settings: Settings) -> Finding:
    known = translate(error)
    detail = f"Redis does not answer ({error})"
    if not isinstance(known, StoreUnavailable):
        detail = known.detail
    fix = "check that it runs and that REDIS_URL is right"
    if not settings.store.redis_url:
        fix = f"restart the assistant; see {settings.home / 'run' / 'redis.log'}"
    return fail("store", detail, fix)


def _not_running(settings: Settings, *, running: bool) -> list[Finding]:
    """The embedded server does not answer: broken, or simply not started."""
    if running:
        log = settings.home / "run" / "redis.log"
        detail = "the assistant runs, but its embedded server does not answer"
        return [fail("store", detail, f"look into {log}, then restart the assistant")]
    detail = f"no assistant runs on {settings.home}"
    start = warn("running", detail, "start everything with `assistant up`")
    return [local.embedded_binary(), start]
