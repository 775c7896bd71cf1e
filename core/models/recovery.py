"""What to change when a server refuses a request, so that a retry may work."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.models.errors import ModelError
from core.models.servers.capabilities import Capabilities
from core.models.simpler import Form, simpler_forms

MAX_DROPPED = 4
GIVE_UP_SECONDS = 8.0
"""From the first unknown refusal on; after it no other form is tried."""
ABOUT_LENGTH = re.compile(r"token|context|length|long|size|large|exceed|memory", re.IGNORECASE)


@dataclass(slots=True)
class Recovery:
    """Changes to what is believed of the server; each is tried once and remembered when it
    worked."""

    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    form: Form = field(default_factory=Form)
    """The simpler form that is tried now."""
    unknown: ModelError | None = None
    """The refusal that no list knows."""
    _left: list[Form] = field(default_factory=list[Form])
    _known_words: dict[str, Any] = field(default_factory=dict[str, Any])
    _until: float = 0

    def adapt(self, error: ModelError, body: dict[str, Any], known: Capabilities) -> bool:
        """Note the change that may help; False: nothing can be done about this error."""
        match error.kind:
            case "no_tools":
                return self._once("tools", False, possible="tools" in body)
            case "template":
                return self._adapt_roles(error, known)
            case "bad_parameter":
                return self._drop(error.parameter, body, known)
            case _:
                return False

    def simplify(
        self,
        error: ModelError,
        messages: Sequence[Mapping[str, Any]],
        body: dict[str, Any],
        known: Capabilities,
    ) -> bool:
        """Note the next simpler form; False: this is no refusal, or every form was tried."""
        if self.unknown is None:
            if not error.simpler_may_help:
                return False
            self.unknown = error
            long = bool(ABOUT_LENGTH.search(error.said))
            self._left = simpler_forms(messages, body, known, about_length=long)
            if error.kind == "other" and not error.refused:
                # It may have been a mishap, which must not cost the model its tools.
                self._left.insert(0, Form())
            self._known_words = dict(self.changes)
            self._until = time.monotonic() + GIVE_UP_SECONDS
        if not self._left or time.monotonic() > self._until:
            return False
        self.form = self._left.pop(0)
        self.changes = {**self._known_words, **self.form.changes}
        return True

    def last_word(self, error: ModelError) -> ModelError:
        """What to tell of a call that failed in all forms: the refusal of the whole request, for
        the others are about less than what was wanted."""
        return self.unknown if self.unknown is not None and error.simpler_may_help else error

    def learnt(self) -> dict[str, Any]:
        """What to remember of the server, now that it has answered."""
        return self._known_words if self.form.only_now else self.changes

    def _once(self, name: str, value: object, *, possible: bool) -> bool:
        if not possible or name in self.changes:
            return False
        self.changes[name] = value
        return True

    def _adapt_roles(self, error: ModelError, known: Capabilities) -> bool:
        text = error.said.lower()
        about_system = "system" in text and "optional system" not in text
        fold = not known.system_role and known.system_role is False
        if about_system and self._once("system_role", False, possible=not fold):
            return True
        if self._once("alternate_roles", True, possible=not known.alternate_roles):
            return True
        return self._once("system_role", False, possible=not fold)

    def _drop(self, parameter: str | None, body: dict[str, Any], known: Capabilities) -> bool:
        refused = known.refused_parameters
        if parameter is None or parameter not in body or len(refused) >= MAX_DROPPED:
            return False
        self.changes["refused_parameters"] = (*refused, parameter)
        return True
