"""Which tools there are, and which of them a turn may use. Tools come and go while turns run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from core.models.estimate import tools_tokens
from tools.base import Tool, Traits

log = logging.getLogger(__name__)

MAX_BUILT = 64
"""Different choices of tools that are kept ready; more means that a rule tells users apart."""

Rule = Callable[[Tool, str, str], str]
"""Tool, user, conversation → why the user may not have the tool there; empty: they may. Called for
each tool at the beginning of each turn, so it must be quick and must not wait."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Tools that a request offers: their names, their schemas as model servers want them, and what
    these cost, estimated."""

    names: frozenset[str]
    schemas: list[dict[str, Any]]
    tokens: int


def offer(tools: Sequence[Tool]) -> Offer:
    """An offer of some tools."""
    schemas = [tool.schema for tool in tools]
    return Offer(frozenset(tool.name for tool in tools), schemas, tools_tokens(schemas))


NO_TOOLS = offer(())


@dataclass(frozen=True, slots=True)
class TurnTools:
    """The tools of one turn. They stay as they are while it runs, whatever comes and goes."""

    version: int
    """Of the toolbox that they come from."""

    by_name: Mapping[str, Tool]
    withheld: Mapping[str, str]
    """Tools that exist and are not offered, and why."""

    everything: Offer
    usual: Offer
    """While there is no kept result: a schema that cannot be used costs tokens all the same."""

    reading: Offer

    def refusal(self, name: str) -> str:
        """Why a call of this tool cannot be run, in words for the model; empty: it can."""
        if name in self.by_name:
            return ""
        if (why := self.withheld.get(name)) is not None:
            return f"The tool {name!r} cannot be used now: {why}."
        return f"There is no tool {name!r}. Tools: {', '.join(self.by_name)}."


class Toolbox:
    """All tools of this process, by their source: a toolset, or a server that comes and goes.

    The sources that it begins with keep their order, the later ones follow by name: so the schemas
    stand in the same order in each process and each turn, and the prompt keeps its beginning.
    """

    def __init__(
        self, sources: Mapping[str, Sequence[Tool]] | None = None, rules: Sequence[Rule] = ()
    ) -> None:
        self._first = tuple(sources or ())
        self._rules = tuple(rules)
        self._sources: dict[str, tuple[Tool, ...]] = {}
        self._usable: tuple[Tool, ...] = ()
        self._withheld: dict[str, str] = {}
        self._built: dict[tuple[str, ...], TurnTools] = {}
        self.version = 0
        for source, tools in (sources or {}).items():
            self.put(source, tools)

    @property
    def tools(self) -> Sequence[Tool]:
        """All tools, also those that are not offered."""
        later = sorted(self._sources.keys() - set(self._first))
        return [tool for source in (*self._first, *later) for tool in self._sources.get(source, ())]

    @property
    def withheld(self) -> Mapping[str, str]:
        """Tools that nobody is offered, and why."""
        return self._withheld

    def put(self, source: str, tools: Sequence[Tool]) -> None:
        """Give a source its tools, in place of those it had. Turns that begin from now on see them.

        Raises ConfigError when two tools have the same name; then nothing has changed.
        """
        taken = {tool.name: name for name, own in self._sources.items() for tool in own}
        names = [tool.name for tool in tools]
        for name in names:
            if taken.get(name, source) != source:
                raise ConfigError(f"{taken[name]} and {source} both have a tool named {name!r}")
            if names.count(name) > 1:
                raise ConfigError(f"{source} has two tools named {name!r}")
        self._sources[source] = tuple(tools)
        self._changed()
        for name in names:
            if why := self._withheld.get(name):
                log.warning("tool %s of %s is not offered: %s", name, source, why)

    def remove(self, source: str) -> None:
        """Take a source's tools away. Turns that run keep them; nothing happens if it has none."""
        if self._sources.pop(source, None) is not None:
            self._changed()

    def for_turn(self, user_id: str, thread_id: str) -> TurnTools:
        """What a turn may use; asked once, when it begins."""
        if not self._rules:
            return self._ready(self._usable, {})
        barred = {
            tool.name: why
            for tool in self._usable
            if (why := self._why_not(tool, user_id, thread_id))
        }
        return self._ready(tuple(t for t in self._usable if t.name not in barred), barred)

    def _why_not(self, tool: Tool, user_id: str, thread_id: str) -> str:
        return next(filter(None, (rule(tool, user_id, thread_id) for rule in self._rules)), "")

    def _ready(self, tools: tuple[Tool, ...], barred: Mapping[str, str]) -> TurnTools:
        key = (*(tool.name for tool in tools), "", *barred.values())
        known = self._built.get(key)
        if known is None:
            if len(self._built) >= MAX_BUILT:
                self._built.clear()
            known = self._built[key] = TurnTools(
                self.version,
                {tool.name: tool for tool in tools},
                {**self._withheld, **barred},
                offer(tools),
                offer([tool for tool in tools if not tool.traits.reads_kept]),
                offer([tool for tool in tools if tool.traits.reads_kept]),
            )
        return known

    def _changed(self) -> None:
        tools = self.tools
        self._withheld = {tool.name: why for tool in tools if (why := never(tool.traits))}
        self._usable = tuple(tool for tool in tools if tool.name not in self._withheld)
        self._built = {}
        self.version += 1


def never(traits: Traits) -> str:
    """Why nobody is offered a tool of such traits; empty: nothing is against it."""
    if traits.needs_sandbox:
        return "it needs a sandbox, and there is none"
    if traits.asks == "always":
        return "each call needs the user's agreement, and there is no way to ask for it yet"
    return ""
