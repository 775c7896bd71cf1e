"""How a script is called: by the names of its keys and arguments.

Each script is declared once, by a function without a body whose parameters are what it takes::

    @script
    def emit(*, control: Key, journal: Key, epoch: int, events: Args) -> Call:
        ...

Called, it packs them in this order; a missing or surplus name is an error at once. The text,
here ``emit.lua``, gets a head that gives the same names to KEYS and ARGV. Keys come first; ``Keys``
takes any number of them after the others, ``Args`` any number of arguments at the end.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias

Arg: TypeAlias = str | bytes | int | float
Key: TypeAlias = str
Keys: TypeAlias = Sequence[str]
Args: TypeAlias = Sequence[Arg]
ROLES = {
    **{"Key": "key", "Keys": "keys", "Args": "args"},
    **{"str": "arg", "bytes": "arg", "str | bytes": "arg", "int": "arg"},
}
"""What a parameter is, by its annotation."""

ORDER = re.compile(r"(key )*(keys )?(arg )*(args )?")

Call: TypeAlias = tuple[Any, ...]
"""Name of a script, number of keys, keys, arguments."""

Declared: TypeAlias = Callable[..., Call]
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Script:
    """The text of a script and its digest."""

    body: str
    digest: str


Scripts: TypeAlias = Mapping[str, Script]
"""Scripts by name."""


def script(declared: Callable[P, Call]) -> Callable[P, Call]:
    """Make the function pack its parameters for the script of its name."""
    found = roles(declared)
    count = str(sum(role == "key" for role in found.values()))
    items: list[str] = []
    for name, role in found.items():
        items.append(f"*{name}" if role in ("keys", "args") else name)
        if role == "keys":
            count += f" + len({name})"
    # As namedtuple does it: anything else costs several times as much, for each token's write too.
    source = f"lambda *, {', '.join(found)}: ({declared.__name__!r}, {count}, {', '.join(items)})"
    packed: Callable[P, Call] = eval(source, {})  # noqa: S307 - our own names
    return functools.update_wrapper(packed, declared)


def roles(declared: Declared) -> dict[str, str]:
    """Names of a script's keys and arguments, each with "key", "keys", "arg" or "args"."""
    # As written in the source: to evaluate them all would cost each process milliseconds.
    notes = inspect.unwrap(declared).__annotations__
    found = {name: ROLES.get(note, "?") for name, note in notes.items() if name != "return"}
    if "?" in found.values():
        raise TypeError(f"{declared.__name__}: the type of a key or argument is one of ROLES")
    if not ORDER.fullmatch("".join(f"{role} " for role in found.values())):
        raise TypeError(f"{declared.__name__}: keys come first, Keys and Args after their kind")
    return found


def head(found: Mapping[str, str]) -> str:
    """The lines of Lua that name what a script takes."""
    lines: list[str] = []
    for table, one, tail in (("KEYS", "key", "keys"), ("ARGV", "arg", "args")):
        names = [name for name, role in found.items() if role == one]
        if names:
            values = (f"{table}[{n}]" for n in range(1, len(names) + 1))
            lines.append(f"local {', '.join(names)} = {', '.join(values)}")
        for name in (name for name, role in found.items() if role == tail):
            if not names:
                lines.append(f"local {name} = {table}")
                continue
            # Not unpack, which gives up near 8000 values.
            copied = f"{name}[n - {len(names)}] = {table}[n]"
            lines.append(f"local {name} = {{}}")
            lines.append(f"for n = {len(names) + 1}, #{table} do {copied} end")
    return "\n".join(lines) + "\n"


def load(declared: Sequence[Declared], folder: Path) -> Scripts:
    """Read the scripts of a folder, each with the prelude and its head in front."""
    prelude = (folder / "_prelude.lua").read_text(encoding="utf-8")
    scripts: dict[str, Script] = {}
    for one in declared:
        text = (folder / f"{one.__name__}.lua").read_text(encoding="utf-8")
        body = prelude + head(roles(one)) + text
        digest = hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()
        scripts[one.__name__] = Script(body, digest)
    return scripts
