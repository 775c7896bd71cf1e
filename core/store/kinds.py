"""What is known of each kind of key, and the sets that follow from it.

``core/store/keys.py`` declares each kind once. A declaration gives back the function that makes the
names of that kind. Everything else is asked of ``Kinds``: which keys a conversation has, which of
them expire with it, what a backup holds, of what kind a name is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Required, TypedDict, TypeVar, Unpack

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
UNITS = (("day", DAY), ("hour", HOUR), ("minute", MINUTE), ("second", 1))

Subject = Literal["thread", "user", "installation"]
"""Whose key it is."""

Type = Literal["hash", "list", "set", "stream", "string", "zset", "channel", "several"]
"""As the command TYPE names it; "channel" stores nothing, "several" is of more than one type."""

Backup = Literal["kept", "made anew", "left out"]
"""What a backup does with it: "made anew" follows from what is kept, "left out" says what happens
right now and means nothing later or elsewhere."""

Name = TypeVar("Name", bound=Callable[..., str])


class About(TypedDict, total=False):
    """What a declaration says. ``ttl``: seconds that such a key lives at most, each one has a time
    to live; without it ``lives`` says when it goes. ``export``: it is in what a user can take
    along."""

    owner: Required[str]
    holds: Required[str]
    lives: str
    ttl: int
    backup: Backup
    export: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of key. ``owner`` is the module that writes it; ``part`` is what follows the tag of
    the thread or user, with ``<word>`` where each key has a word of its own."""

    name: Callable[..., str]
    subject: Subject
    part: str
    type: Type
    owner: str
    holds: str
    lives: str
    ttl: int
    backup: Backup
    export: bool

    @property
    def fixed(self) -> bool:
        """Whether its subject has only one such key."""
        return "<" not in self.part

    @property
    def stored(self) -> bool:
        """Whether there are keys of it: a channel has none."""
        return self.type != "channel"

    @property
    def start(self) -> str:
        """What the parts of all such keys begin with."""
        return self.part.partition("<")[0]


class Kinds:
    """The kinds of keys in the order of their declaration. All names begin with the prefix."""

    def __init__(self, prefix: str, kinds: Sequence[Kind] = ()) -> None:
        self.prefix = prefix
        self._tags = {"thread": f"{prefix}:{{", "user": f"{prefix}:u:{{"}
        self._kinds: list[Kind] = []
        self._found: dict[tuple[Subject, str], Kind] = {}
        self._of_thread: tuple[str, ...] = ()
        self._lasting: tuple[str, ...] = ()
        for kind in kinds:
            self._add(kind)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def copy(self) -> Kinds:
        """The same kinds in a registry of its own."""
        return Kinds(self.prefix, self._kinds)

    def _add(self, kind: Kind) -> None:
        place = (kind.subject, kind.start)
        if place in self._found:
            raise ValueError(f"two kinds of keys have names that begin with {kind.part!r}")
        self._kinds.append(kind)
        self._found[place] = kind
        if kind.subject == "thread" and kind.fixed:
            self._of_thread += (kind.part,)
            self._lasting += () if kind.ttl else (kind.part,)

    # ---- declarations; what they give back is called for each name, so it does as little as it can

    def declare(
        self, name: Name, subject: Subject, part: str, type_: Type, /, **about: Unpack[About]
    ) -> Name:
        """Declare a kind whose names a function of its own makes; the other declarations use
        it."""
        ttl = about.get("ttl", 0)
        kind = Kind(
            name,
            subject,
            part,
            type_,
            about["owner"],
            about["holds"],
            about.get("lives") or _words(ttl),
            ttl,
            about.get("backup", "kept"),
            about.get("export", False),
        )
        if not kind.lives:
            raise ValueError(f"how long does {part!r} live? Say lives= or ttl=")
        if subject == "thread" and not kind.fixed and not ttl and type_ != "several":
            raise ValueError(f"{part!r}: nothing would delete it with its thread; give it a ttl")
        self._add(kind)
        return name

    def thread_key(self, part: str, type_: Type, /, **about: Unpack[About]) -> Callable[[str], str]:
        """A key of each thread."""
        return self.declare(self._tagged("thread", part), "thread", part, type_, **about)

    def thread_keys(
        self, part: str, type_: Type, /, **about: Unpack[About]
    ) -> Callable[[str, str], str]:
        """Keys of each thread, told apart by a word: ``cx:<run>``."""
        return self.declare(self._tagged_words("thread", part), "thread", part, type_, **about)

    def user_key(self, part: str, type_: Type, /, **about: Unpack[About]) -> Callable[[str], str]:
        """A key of each user."""
        return self.declare(self._tagged("user", part), "user", part, type_, **about)

    def user_keys(
        self, part: str, type_: Type, /, **about: Unpack[About]
    ) -> Callable[[str, str], str]:
        """Keys of each user, told apart by a word: ``usage:<day>``."""
        return self.declare(self._tagged_words("user", part), "user", part, type_, **about)

    def key(self, part: str, type_: Type, /, **about: Unpack[About]) -> Callable[[], str]:
        """The only key of its kind."""
        text = f"{self.prefix}:{part}"

        def name() -> str:
            return text

        return self.declare(name, "installation", part, type_, **about)

    def keys(self, part: str, type_: Type, /, **about: Unpack[About]) -> Callable[[str], str]:
        """Keys of the installation, told apart by a word: ``worker:<name>``."""
        start = f"{self.prefix}:{part.partition('<')[0]}"

        def name(word: str) -> str:
            return f"{start}{word}"

        return self.declare(name, "installation", part, type_, **about)

    def channel(self, part: str, /, *, owner: str, holds: str) -> Callable[[], str]:
        """A pub/sub channel."""
        return self.key(part, "channel", owner=owner, holds=holds, lives=NOTHING_STORED)

    def channels(self, part: str, /, *, owner: str, holds: str) -> Callable[[str], str]:
        """Pub/sub channels, told apart by a word: ``pub:<user>``."""
        return self.keys(part, "channel", owner=owner, holds=holds, lives=NOTHING_STORED)

    def _tagged(self, subject: Subject, part: str) -> Callable[[str], str]:
        before, after = self._tags[subject], f"}}:{part}"

        def name(subject_id: str) -> str:
            return f"{before}{subject_id}{after}"

        return name

    def _tagged_words(self, subject: Subject, part: str) -> Callable[[str, str], str]:
        before, after = self._tags[subject], f"}}:{part.partition('<')[0]}"

        def name(subject_id: str, word: str) -> str:
            return f"{before}{subject_id}{after}{word}"

        return name

    # ---- what follows

    def of_thread(self, thread_id: str) -> tuple[str, ...]:
        """All keys of a thread but checkpoints, which their saver erases, and those told apart by a
        word, which expire."""
        start = f"{self._tags['thread']}{thread_id}}}:"
        return tuple([start + part for part in self._of_thread])

    def lasting(self, thread_id: str) -> tuple[str, ...]:
        """Those of them without a time to live of their own: all of these expire with an ephemeral
        thread."""
        start = f"{self._tags['thread']}{thread_id}}}:"
        return tuple([start + part for part in self._lasting])

    def apart(self, name: str) -> tuple[Subject, str, str] | None:
        """Subject, its id and the part of one of our names; None for the names of others."""
        for subject in ("user", "thread"):
            tag = self._tags[subject]
            if name.startswith(tag):
                subject_id, closed, part = name.removeprefix(tag).partition("}:")
                return (subject, subject_id, part) if closed else None
        start = f"{self.prefix}:"
        return ("installation", "", name.removeprefix(start)) if name.startswith(start) else None

    def kind_of(self, name: str) -> Kind | None:
        """The kind of a key; None for what this version does not know."""
        apart = self.apart(name)
        if apart is None:
            return None
        subject, _, part = apart
        kind = self._found.get((subject, part))
        if kind is not None and kind.fixed:
            return kind
        end = len(part)
        while (end := part.rfind(":", 0, end)) >= 0:
            kind = self._found.get((subject, part[: end + 1]))
            if kind is not None and not kind.fixed:
                return kind
        return None


NOTHING_STORED = "nothing stored"


def _words(seconds: int) -> str:
    """A time to live in words; "" for none."""
    for unit, length in UNITS:
        if seconds and seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return ""
