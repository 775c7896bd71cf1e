"""Every failure that the server can tell has its text and its help on the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

import dashboard
from core.errors import StoreError
from core.models.errors import ErrorKind
from dashboard.failures import FAILURES, MODEL_FAILURES
from dashboard.i18n import LANGUAGES, load_catalogues

PAGES = Path(dashboard.__file__).parent
ROOT = PAGES.parent
TURNS = ("graph", "nodes", "core/engine", "core/models")
"""Rooms whose errors end turns."""
TOLD = re.compile(r"""(?:_failed\(\s*record,\s*|_give_up\(turn,\s*|\bcode\s*=\s*)"(\w+)\"""")
NEVER_TOLD = {"cancelled", "model_other"}
"""A stop is no failure; of a ModelError its kind is told."""


def kinds_of(error: type[StoreError]) -> set[str]:
    return {error.code}.union(*(kinds_of(narrower) for narrower in error.__subclasses__()))


def told() -> set[str]:
    """Codes that end a turn, from the sources."""
    found: set[str] = set()
    for room in TURNS:
        for file in (ROOT / room).rglob("*.py"):
            found |= set(TOLD.findall(file.read_text()))
    return found | kinds_of(StoreError) - {"store_unavailable"} | set(get_args(ErrorKind))


def test_every_failure_of_a_turn_is_listed() -> None:
    codes = told() - NEVER_TOLD
    assert {"timeout", "gave_up", "unreadable", "internal", "nothing_waits"} <= codes
    assert codes - FAILURES.keys() == set()


def test_the_kinds_of_model_errors_are_one_list() -> None:
    assert set(MODEL_FAILURES) == set(get_args(ErrorKind))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_failure_has_a_text_and_no_text_is_left_over(language: str) -> None:
    messages = load_catalogues(PAGES / "locale")[language].messages
    texts = {key.removeprefix("failure.is.") for key in messages if key.startswith("failure.is.")}
    assert texts == FAILURES.keys()


def test_a_button_leads_to_a_control_that_is_there() -> None:
    page = (PAGES / "templates/settings.html").read_text()
    for failure in FAILURES.values():
        if failure.field:
            assert re.search(rf'(id="|field\("|secret_field\(t, "){failure.field}"', page)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("unreachable", "base_url"),
        ("auth", "api_key"),
        ("garbage", "base_url"),
        ("no_model", "name"),
    ],
)
def test_wrong_settings_lead_to_the_setting(kind: str, field: str) -> None:
    assert FAILURES[kind].field == field


PROBLEM = re.compile(r"""\bcode\s*=\s*"(\w+)\"""")
CALLED = ("core", "api/middleware", "api/routes")
"""Rooms whose errors answer calls of the pages."""
NOT_FOR_PAGES = {
    "bad_configuration", "home_busy", "store_too_old", "file_not_written", "backup_unusable",
    "restore_incomplete",  # of commands
    "fenced", "tool_error", "model_other",  # of turns
    "method_not_allowed", "unsupported_media_type", "wrong_host", "wrong_origin",
    "target_too_long", "headers_too_large",  # a page of ours never causes them
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_refusal_of_the_api_has_a_text(language: str) -> None:
    files = [file for room in CALLED for file in (ROOT / room).rglob("*.py")]
    files = [file for file in files if "engine" not in file.parts]
    codes = {code for file in files for code in PROBLEM.findall(file.read_text())}
    assert {"inbox_full", "wrong_password", "not_set_up", "no_worker"} <= codes
    messages = load_catalogues(PAGES / "locale")[language].messages
    assert {code for code in codes - NOT_FOR_PAGES if f"problem.{code}" not in messages} == set()
