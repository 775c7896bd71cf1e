"""What the web process may ask a worker: one list. Answers change nothing
(core/asks/answering.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.asks.answering import Ask
from core.asks.names import TOOLS
from core.events import Json
from nodes.state import Context


def tools(context: Context) -> Ask:
    """The tools of this worker: name, description and whether it changes something."""

    async def answer(_argument: Json) -> Json:
        return [
            {
                "name": name,
                "description": skill.tool.description.split("\n\n")[0],
                "effect": skill.effect,
            }
            for name, skill in context.toolbox.skills.items()
        ]

    return Ask(TOOLS, answer)


ASKS: tuple[Callable[[Context], Ask], ...] = (tools,)


def asks(context: Context) -> Sequence[Ask]:
    """All questions, bound to this worker."""
    return [make(context) for make in ASKS]
