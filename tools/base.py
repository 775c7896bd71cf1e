"""A skill is a LangChain tool and what we must know to run it safely."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from core.errors import ConfigError
from core.models.estimate import tools_tokens
from core.services import Services

Effect = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom and in which conversation a tool runs. The model can neither see nor set it."""

    user_id: str
    thread_id: str
    run_id: str


InjectedCaller = Annotated[Caller, InjectedToolArg]
"""Type of a tool's ``caller`` parameter; it is left out of what the model sees."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A tool, whether it changes anything, and whether running it twice equals running it once.

    ``reads_kept``: it reads results that were too long; it is offered while there are such, and
    its own results are never kept.
    """

    tool: BaseTool
    effect: Effect = "read"
    repeatable: bool = True
    reads_kept: bool = False


def skill(
    function: Callable[..., Awaitable[str]],
    *,
    effect: Effect = "read",
    repeatable: bool = True,
    reads_kept: bool = False,
) -> Skill:
    """A skill from an async function: its name and docstring are what the model reads."""
    tool = StructuredTool.from_function(coroutine=function, parse_docstring=True)
    return Skill(tool, effect, repeatable, reads_kept)


Toolset = Callable[[Services], Sequence[Skill]]


@dataclass(frozen=True, slots=True)
class Offer:
    """Tools that a request offers: their names, their schemas as model servers want them, and what
    these cost, estimated."""

    names: frozenset[str]
    schemas: list[dict[str, Any]]
    tokens: int


def offer(skills: Sequence[Skill]) -> Offer:
    """An offer of some skills."""
    schemas = [convert_to_openai_tool(entry.tool) for entry in skills]
    return Offer(frozenset(entry.tool.name for entry in skills), schemas, tools_tokens(schemas))


NO_TOOLS = offer(())


class Toolbox:
    """All skills of this process by name, and what is offered of them."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        self.skills: Mapping[str, Skill] = {entry.tool.name: entry for entry in skills}
        if len(self.skills) != len(skills):
            names = [entry.tool.name for entry in skills]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ConfigError(f"two skills have the same name: {', '.join(twice)}")
        self.everything = offer(skills)
        self.usual = offer([entry for entry in skills if not entry.reads_kept])
        """While there is no kept result: a schema that cannot be used costs tokens all the same."""
        self.reading = offer([entry for entry in skills if entry.reads_kept])
