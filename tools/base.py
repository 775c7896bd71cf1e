"""A tool is a LangChain tool and what must be known to run it safely."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from core.errors import ConfigError
from core.services import Services

Effect = Literal["read", "write", "send", "execute"]
Asks = Literal["never", "after_untrusted", "always"]

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Names that model servers take."""


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom and in which conversation a tool runs. The model can neither see nor set it."""

    user_id: str
    thread_id: str
    run_id: str


InjectedCaller = Annotated[Caller, InjectedToolArg]
"""Type of a tool's ``caller`` parameter; it is left out of what the model sees."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What decides whether a tool is offered and how its calls are run."""

    effect: Effect = "read"
    """What it does: reads, changes what is stored, sends to others, or runs code. All but reading
    is recorded, and a call that has finished is never run again."""

    repeatable: bool = True
    """Running it twice equals running it once. A call of one that is not, and that a crash cut off,
    is reported as "outcome unknown" instead of being run again."""

    untrusted: bool = False
    """Its results hold text of strangers. They are marked, and from then on the conversation may
    not call what ``asks`` "after_untrusted"."""

    asks: Asks = "never"
    """When the user must agree to a call. Nobody can be asked yet: "always" is not offered, and
    "after_untrusted" is refused once the conversation holds an untrusted result."""

    needs_sandbox: bool = False
    """It must not run outside a sandbox. There is none yet: it is not offered."""

    timeout: float | None = None
    """Seconds that a call may take; None: ``orchestrator.tool_timeout``."""

    reads_kept: bool = False
    """It reads results that were too long. It is offered while there are such, and its own results
    are never kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """What the model may call. ``schema`` is the tool as model servers want it, made once."""

    base: BaseTool
    traits: Traits
    schema: dict[str, Any]

    @property
    def name(self) -> str:
        """The name that the model calls."""
        return self.base.name


Toolset = Callable[[Services], Sequence[Tool]]


def tool(function: Callable[..., Awaitable[str]], traits: Traits = Traits()) -> Tool:
    """A tool from an async function: its name and docstring are what the model reads.

    Raises ConfigError.
    """
    name = getattr(function, "__name__", "")
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(f"tool {name!r} is no async function")
    if not inspect.getdoc(function):
        raise ConfigError(f"tool {name!r} has no docstring, which is what the model reads of it")
    try:
        base = StructuredTool.from_function(coroutine=function, parse_docstring=True)
    except (ValueError, TypeError, NameError) as error:
        raise ConfigError(f"tool {name!r} cannot be described to the model: {error}") from error
    return wrapped(base, traits)


def wrapped(base: BaseTool, traits: Traits) -> Tool:
    """A tool from one of LangChain's. Raises ConfigError."""
    if NAME.fullmatch(base.name) is None:
        raise ConfigError(f"tool {base.name!r} needs a name of at most 64 letters, digits, _ and -")
    if traits.timeout is not None and traits.timeout <= 0:
        raise ConfigError(f"tool {base.name!r} has a timeout of {traits.timeout:g} seconds")
    return Tool(base, traits, convert_to_openai_tool(base))
