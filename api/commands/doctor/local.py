"""What `assistant doctor` sees without a network: Python, the data folder, the settings."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import SecretStr

from api.commands.doctor.finding import Finding, fail, ok, warn
from core.errors import ConfigError
from core.home.embedded import server_binary
from core.settings.groups import GROUPS, Settings
from core.settings.source import Loaded, Source, misspelt, unread, unused

OLDEST_PYTHON = (3, 11)
GIB = 1024**3
LITTLE, TOO_LITTLE = 1.0, 0.1
"""GiB of free disk: append-only files are rewritten beside the old ones."""

OTHERS = 0o077


def python() -> Finding:
    """Version of Python and of the assistant."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    try:
        ours = version("modular-assistant")
    except PackageNotFoundError:
        ours = "a checkout"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return fail("python", f"Python {found} is too old", "install Python 3.11 or newer")
    return ok("python", f"Python {found}, assistant {ours}")


def home_folder(home: Path) -> list[Finding]:
    """Whether the data folder can be used, and what is left of its disk."""
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        fix = f"correct the owner of {there}, or set ASSISTANT_HOME to a folder of yours"
        return [fail("home", f"{there} cannot be written", fix)]
    findings = [ok("home", f"{home}" if there == home else f"{home} (made at the first start)")]
    if there == home and home.stat().st_mode & OTHERS:
        findings = [warn("home", f"{home} can be read by others", f"run: chmod 700 '{home}'")]
    free = shutil.disk_usage(there).free / GIB
    detail = f"{free:.1f} GiB free"
    if free < TOO_LITTLE:
        findings.append(fail("disk", detail, "free some space: nothing can be stored soon"))
    elif free < LITTLE:
        findings.append(warn("disk", detail, "free some space, 1 GiB or more"))
    else:
        findings.append(ok("disk", detail))
    return findings


def is_running(home: Path) -> bool:
    """Whether `up` or `demo` holds this home."""
    try:
        with (home / "run" / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def embedded_binary() -> Finding:
    """Whether there is a server to start."""
    try:
        return ok("store", f"the embedded server is ready to start ({server_binary().name})")
    except ConfigError as error:
        fix = "install valkey-server or redis-server, or set REDIS_URL"
        return fail("store", error.detail, fix)


def free_port(settings: Settings, *, is_set: bool) -> list[Finding]:
    """Whether the port can be had, asked only while we do not use it ourselves. A port that is not
    ``is_set`` by the user gives way to the next free one."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = os.strerror(error.errno or 0)
            fix = "stop what uses it, or set ASSISTANT_PORT to another port (0 takes a free one)"
            if not is_set:
                fix = "nothing to do: the next free port is taken; set ASSISTANT_PORT to choose one"
            if error.errno != errno.EADDRINUSE:
                fix = "set ASSISTANT_HOST to an address of this machine, and a port above 1023"
            return [warn("port", f"cannot listen on {host} port {port} ({why})", fix)]
    return []


def slips() -> list[Finding]:
    """Variables that look like a misspelt setting."""
    fix = "rename it, or ignore this if another program needs it"
    return [warn("environment", slip, fix) for slip in misspelt()]


def not_read(loaded: Loaded) -> list[Finding]:
    """A `.env` that somebody may think is read."""
    fix = "move it, or delete it if it is of another program"
    return [warn("settings", found, fix) for found in unread(loaded.settings.home)]


def not_yet(loaded: Loaded) -> list[Finding]:
    """Settings whose feature is not built yet."""
    fix = "nothing to do: the value waits for a version that uses it"
    return [warn("settings", found, fix) for found in unused(loaded)]


def cloud(settings: Settings) -> list[Finding]:
    """A cloud that cannot answer."""
    if settings.cloud.enabled and not settings.cloud.api_key.get_secret_value():
        return [warn("cloud", "the cloud fallback is on, but has no key", "set cloud.api_key")]
    return []


def changed_settings(
    settings: Settings, source: Callable[[str, str], Source]
) -> list[dict[str, str]]:
    """Every setting that is not at its default, with where it comes from; secrets are not shown."""
    found: list[dict[str, str]] = []
    for group, model in GROUPS.items():
        for name in model.model_fields:
            if (origin := source(group, name)) != "default":
                value = getattr(getattr(settings, group), name)
                shown = "[redacted]" if isinstance(value, SecretStr) else str(value)
                found.append({"name": f"{group}.{name}", "value": shown, "source": origin})
    return found
