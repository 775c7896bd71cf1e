"""All dialects together: the words that a text is searched for, and who reads what they begin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from core.models.wire.calls import MAX_CALLS
from core.models.wire.dialects import harmony
from core.models.wire.dialects.base import Beginning, Dialect, Opener, Parsed, Tools, nearly
from core.models.wire.dialects.catalogue import DIALECTS
from core.models.wire.pieces import InvalidCall, ToolCall

SHAPE = r"<(?:[\w.-]{1,24}?[:_.-])?(?:think(?:ing)?|thoughts?|reasoning)(?:[_-]\w{1,12})?>"
SHAPE_END = SHAPE.replace("<", "</", 1)
SHAPES = SHAPE.replace("<", "</?", 1)
MAX_SHAPE = 64
"""Tags around thinking, whatever their family calls them: think, thinking, seed:think, mm:think."""
SHAPE_BEGUN = re.compile(r"</?[\w.:-]*+\Z")
MAX_RUN = 64
"""A run of code marks is read in parts of so many, so that an endless one is looked at once."""
MAX_BEGINNING = 400
"""Characters within which an answer that is a call as a whole has named its tool."""

Kind = Literal["think", "end of think", "harmony", "call", "end", "last", "noise", "stray"]


class Words:
    """Finds the first of some words (or what has the shape), and the beginning of one at the end of
    a text."""

    def __init__(self, words: Iterable[str], *, shape: str = "", marks: str = "") -> None:
        every = sorted(set(words), key=len, reverse=True)
        self._shaped = bool(shape)
        self._begun = frozenset(word[:at] for word in every for at in range(1, len(word)))
        firsts = sorted({word[0] for word in every} | ({"<"} if shape else set[str]()))
        self._first = re.compile("|".join(map(re.escape, firsts)) or r"(?!)")
        self.reach = max([1, *map(len, every), MAX_SHAPE if shape else 1])
        patterns = [each for each in (*map(re.escape, every), shape, marks) if each]
        self.pattern = re.compile("|".join(patterns) or r"(?!)")

    def begun(self, text: str, at: int) -> int:
        """Length of the tail (from ``at`` on) that may be the beginning of a word."""
        for match in self._first.finditer(text, max(at, len(text) - self.reach)):
            tail = text[match.start() :]
            if tail in self._begun or (self._shaped and SHAPE_BEGUN.match(tail)):
                return len(tail)
        return 0


@lru_cache(maxsize=64)
def words_of(*words: str) -> Words:
    """Finds one of the words."""
    return Words(words)


class Grammar:
    """What a list of dialects comes to."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self.dialects = tuple(dialects)
        self._openers: dict[str, list[Opener]] = {}
        self.thinking: dict[str, str] = {}
        self.kinds: dict[str, Kind] = dict.fromkeys(harmony.WORDS, "harmony")
        self._beginnings: list[Beginning] = []
        for dialect in dialects:
            self._add(dialect)
        self.ends = tuple(word for word, kind in self.kinds.items() if kind == "end")
        calls: tuple[Kind, ...] = ("call", "stray")
        plain = [word for word, kind in self.kinds.items() if kind not in calls]
        firsts = "".join(sorted({word[0] for word in self.kinds} | {"<"}))
        self.special = re.compile(f"[\n`~{re.escape(firsts)}]")
        marks = rf"\n++|`{{1,{MAX_RUN}}}|~{{3,{MAX_RUN}}}"
        self.plain = Words(plain, shape=SHAPES, marks=marks)
        self.all = Words(self.kinds, shape=SHAPES, marks=marks)
        self.thought_begins = Words(self.thinking, shape=SHAPE)
        self.thought_ends = Words(self.thinking.values(), shape=SHAPE_END)
        starts = "|".join(re.escape(word) for word in self._openers)
        self._block = re.compile(starts or r"(?!)")

    def _add(self, dialect: Dialect) -> None:
        kinds = self.kinds
        for opener in dialect.openers:
            self._openers.setdefault(opener.word, []).append(opener)
            kinds[opener.word] = "call"
            if opener.closer:
                kinds.setdefault(opener.closer, "stray")
        for begin, end in dialect.thinking:
            self.thinking[begin] = end
            kinds[begin], kinds[end] = "think", "end of think"
        kinds.update(dict.fromkeys(dialect.ends, "end"))
        kinds.update(dict.fromkeys(dialect.noise, "noise"))
        kinds.setdefault("</s>", "last")
        self._beginnings += dialect.beginnings

    def kind(self, token: str) -> Kind:
        """What a word that was found is."""
        if known := self.kinds.get(token):
            return known
        return "end of think" if token.startswith("</") else "think"

    def end_of(self, opening: str) -> str:
        """The word that ends a thinking that began with ``opening``."""
        return self.thinking.get(opening) or f"</{opening[1:]}"

    def closers(self, opener: str) -> tuple[str, ...]:
        """What ends a call: its closing words, or the end of the turn."""
        own = (each.closer for each in self._openers.get(opener, ()) if each.closer)
        return (*dict.fromkeys(own), *self.ends)

    def begins_call(self, text: str, tools: Tools) -> bool | None:
        """Whether an answer that begins like that is a call as a whole; None: too early to say."""
        answers = {each.is_call(text, tools) for each in self._beginnings}
        if True in answers:
            return True
        return None if None in answers and len(text) <= MAX_BEGINNING else False

    def parse(self, opener: str, inner: str, tools: Tools) -> Parsed | None:
        """Read what stands between an opening word and its end; "" is a whole answer. None: it is
        text."""
        openers = self._openers.get(opener, ())
        for parse in (each.parse for each in (openers if opener else self._beginnings)):
            found = parse(inner, tools)
            if found is not None and (found.calls or found.invalid):
                return found if found.rest.strip() != "</s>" else replace(found, rest="")
        return nearly(inner, tools) if opener else None

    def in_thinking(self, text: str, tools: Tools) -> tuple[list[ToolCall], list[InvalidCall]]:
        """Calls that a model wrote into its thinking instead of its answer (whole blocks only)."""
        calls: list[ToolCall] = []
        invalid: list[InvalidCall] = []
        at = 0
        while len(calls) <= MAX_CALLS and (begun := self._block.search(text, at)):
            end = words_of(*self.closers(begun.group())).pattern.search(text, begun.end())
            stop = end.start() if end else len(text)
            found = self.parse(begun.group(), text[begun.end() : stop], tools)
            if found is not None:
                calls.extend(found.calls)
                invalid.extend(found.invalid)
            at = end.end() if end else len(text)
        return calls, [] if calls else invalid

    def opens(self, text: str) -> bool:
        """The text begins with the opening word of a call."""
        return self._block.match(text.lstrip()[:MAX_BEGINNING]) is not None


GRAMMAR = Grammar(DIALECTS)
