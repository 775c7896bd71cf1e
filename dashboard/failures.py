"""Why a turn can fail, as the pages tell it: one list for the server, the pages and the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Field = Literal["base_url", "name", "api_key", "test"]
"""A control of the card "Model" in templates/settings.html."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What helps against one failure. Its text is ``failure.is.<code>`` in all languages.

    ``field`` is where the button "Model settings" leads to; empty: the settings do not help.
    ``restart`` offers a new conversation. ``words`` shows the server's own words at once, because
    they say more than our text; otherwise they are folded away.
    """

    field: Field | Literal[""] = ""
    restart: bool = False
    words: bool = False


MODEL_FAILURES: Mapping[str, Failure] = {
    "unreachable": Failure("base_url"),
    "auth": Failure("api_key"),
    "loading": Failure(),
    "busy": Failure(),
    "no_model": Failure("name"),
    "no_tools": Failure("name"),
    "context_overflow": Failure("name", restart=True),
    "template": Failure("name", words=True),
    "bad_parameter": Failure("name", words=True),
    "truncated": Failure("name"),
    "stalled": Failure("test"),
    "garbage": Failure("base_url"),
    "other": Failure("test", words=True),
}
"""The kinds of ``core.models.errors.ErrorKind``."""

FAILURES: Mapping[str, Failure] = {
    **MODEL_FAILURES,
    "checkpoint_unreadable": Failure(words=True),
    "gave_up": Failure(words=True),
    "internal": Failure(words=True),
    "nothing_waits": Failure(),
    "secret_unreadable": Failure("api_key"),
    "store_error": Failure(words=True),
    "store_full": Failure(),
    "store_too_old": Failure(words=True),
    "timeout": Failure(words=True),
    "unreadable": Failure(words=True),
}
"""By the ``code`` of ``turn_failed``. A code that is not listed is told in the server's words."""
