"""Writes the table of keys in docs/architecture.md from core/store/keys.py: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from core.store import keys
from core.store.kinds import Kind, Kinds

PAGE = Path(__file__).resolve().parent / "architecture.md"

BEGIN = "<!-- keys: written by `make docs` from core/store/keys.py -->\n"
END = "<!-- end of keys -->\n"

HEAD = """\
| key | made by | type | holds | written by · lives | backup | export |
|---|---|---|---|---|---|---|
"""

TAGS = {"thread": "{thread}:", "user": "u:{user}:", "installation": ""}
TYPES = {"zset": "sorted set"}


def names(kinds: Kinds, module: Mapping[str, object]) -> dict[str, Kind]:
    """The kinds by the names that a module gives them, in the order of their declaration."""
    known = {id(value): name for name, value in module.items() if not name.startswith("_")}
    return {known[id(kind.name)]: kind for kind in kinds}


def table(named: Mapping[str, Kind]) -> str:
    """The rows, with a head."""
    return HEAD + "".join(f"| {' | '.join(_row(name, kind))} |\n" for name, kind in named.items())


def _row(name: str, kind: Kind) -> Iterator[str]:
    yield f"`{keys.PREFIX}:{TAGS[kind.subject]}{kind.part}`"
    yield f"`{name}`"
    yield TYPES.get(kind.type, kind.type)
    yield kind.holds
    yield f"`{kind.owner}` · {kind.lives}"
    yield kind.backup if kind.stored else "–"
    yield "yes" if kind.export else ""


def page(text: str) -> str:
    """The page with the table as it should be."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE} has lost the marks around its table of keys")
    return before + begin + table(names(keys.KINDS, vars(keys))) + end + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
