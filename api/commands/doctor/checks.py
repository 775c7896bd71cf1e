"""The list of all checks: one line each, in the order of the report."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from api.commands.doctor import local as local
from api.commands.doctor.channels import channel_findings
from api.commands.doctor.finding import Finding, fail
from api.commands.doctor.look import Look
from api.commands.doctor.servers import server_findings
from api.commands.doctor.store import look_at_store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """``look`` gives what it found, nothing when there is nothing to say."""

    name: str
    look: Callable[[Look], Awaitable[Sequence[Finding]]]


async def looked(check: Check, look: Look) -> Sequence[Finding]:
    """What a check finds. One that breaks hides nothing that others find."""
    try:
        return await check.look(look)
    except Exception as error:  # the report is read when something is broken, and must come
        log.debug("check %s", check.name, exc_info=True)
        why = f"this check failed ({type(error).__name__}: {error})"
        return [fail(check.name, why, "report this with the whole output of `assistant doctor`")]


async def _surroundings(look: Look) -> Sequence[Finding]:
    loaded = look.loaded
    return [*local.slips(), *local.not_read(loaded), *local.not_yet(loaded)]


async def _home(look: Look) -> Sequence[Finding]:
    return local.home_folder(look.home)


async def _port(look: Look) -> Sequence[Finding]:
    """Asked only while we do not use it ourselves."""
    if look.url or look.running or local.is_running(look.home / "demo"):
        return []
    return local.free_port(look.settings, is_set=look.source("server", "port") != "default")


async def _servers(look: Look) -> Sequence[Finding]:
    return await server_findings(look.url, look.settings.model, expected=look.running)


async def _cloud(look: Look) -> Sequence[Finding]:
    return local.cloud(look.settings)


CHECKS: tuple[Check, ...] = (
    Check("environment", _surroundings),
    Check("home", _home),
    Check("store", look_at_store),
    Check("port", _port),
    Check("servers", _servers),
    Check("cloud", _cloud),
    Check("channels", channel_findings),
)
