"""What to change when a server refuses a request, so that a retry may work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.models.errors import ModelError
from core.models.servers.capabilities import Capabilities

MAX_DROPPED = 4
NO_TOOLS_NOTICE = "This model cannot use tools, so it answers without them."


@dataclass(slots=True)
class Recovery:
    """Changes to what is believed of the server; each is tried once and remembered when it
    worked."""

    changes: dict[str, Any] = field(default_factory=dict[str, Any])

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
