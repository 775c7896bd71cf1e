"""What the web process may ask a worker: one list. Answers change nothing
(core/asks/answering.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.asks.answering import Ask
from core.asks.names import TOOLS
from core.events import Json
from core.services import Services
from tools.base import Toolbox


def tools(_services: Services, toolbox: Toolbox) -> Ask:
    """The tools of this worker: name, description and whether it changes something."""

    async def answer(_argument: Json) -> Json:
        return [
            {
                "name": name,
                "description": skill.tool.description.split("\n\n")[0],
                "effect": skill.effect,
            }
            for name, skill in toolbox.skills.items()
        ]

    return Ask(TOOLS, answer)


ASKS: tuple[Callable[[Services, Toolbox], Ask], ...] = (tools,)


def asks(services: Services, toolbox: Toolbox) -> Sequence[Ask]:
    """All questions, bound to this worker."""
    return [make(services, toolbox) for make in ASKS]
