"""Languages of the pages: catalogues, and which one a request wants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

LANGUAGES = ("en", "ru")
COOKIE = "asst_lang"

Message = str | dict[str, str]
"""A text, or its plural forms by CLDR category (one, few, many, other)."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All texts of one language; the same keys serve the templates and the scripts."""

    language: str
    messages: dict[str, Message]

    def text(self, key: str) -> str:
        """The text of ``key`` for a template. Raises KeyError for an unknown key."""
        message = self.messages[key]
        if not isinstance(message, str):
            raise KeyError(f"{key} has plural forms; only the scripts choose between them")
        return message


def load_catalogues(folder: Path) -> dict[str, Catalogue]:
    """Read ``<language>.json`` of every language in ``folder``."""
    return {
        language: Catalogue(language, orjson.loads((folder / f"{language}.json").read_bytes()))
        for language in LANGUAGES
    }


def choose_language(cookie: str | None, accept: str) -> str:
    """The cookie's language if we have it, else the first of Accept-Language that we have."""
    if cookie in LANGUAGES:
        return cookie
    wanted = sorted(
        (_weighted(part) for part in accept.split(",") if part.strip()),
        key=lambda item: -item[1],
    )
    for tag, weight in wanted:
        language = tag.split("-")[0].lower()
        if weight > 0 and language in LANGUAGES:
            return language
    return LANGUAGES[0]


def _weighted(part: str) -> tuple[str, float]:
    tag, _, parameters = part.strip().partition(";")
    try:
        return tag.strip(), float(parameters.strip().removeprefix("q=") or 1)
    except ValueError:
        return tag.strip(), 0.0
