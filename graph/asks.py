"""What the web process may ask a worker: one list. Answers change nothing
(core/asks/answering.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.asks.answering import Ask
from core.asks.names import TOOLS
from core.events import Json
from core.services import Services
from tools.toolbox import Toolbox


def tools(_services: Services, toolbox: Toolbox) -> Ask:
    """The tools of this worker: name, description, what it does, and why it is not
    offered."""

    async def answer(_argument: Json) -> Json:
        return [
            {
                "name": tool.name,
                "description": tool.base.description.split("\n\n")[0],
                "effect": tool.traits.effect,
                "withheld": toolbox.withheld.get(tool.name),
            }
            for tool in toolbox.tools
        ]

    return Ask(TOOLS, answer)


ASKS: tuple[Callable[[Services, Toolbox], Ask], ...] = (tools,)


def asks(services: Services, toolbox: Toolbox) -> Sequence[Ask]:
    """All questions, bound to this worker."""
    return [make(services, toolbox) for make in ASKS]
