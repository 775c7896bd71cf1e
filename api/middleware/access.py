"""Who may ask for what, derived from the lists of routes and pages.

The guard decides by the same templates that the router serves. Nothing is allowed by a prefix,
except the files of the pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from api.middleware.problems import NOTHING_HERE, WrongMethod
from core.accounts.principal import Principal
from core.errors import ConfigError, Forbidden, NotFound

Scope = Literal["open", "chat", "admin"]
"""Who may ask: everybody, every credential, or only credentials of scope admin."""

REFUSALS = {
    "key": "this key is for chatting only; use one of scope admin",
    "session": "only an administrator may do this",
}

ROOT = re.compile(r"(?:/api)?/[^/]+")
"""The beginning of an address that stands for its subject."""


@dataclass(frozen=True, slots=True)
class Served:
    """One method of one address. ``path`` is a template, ``by`` names the entry of the list."""

    method: str
    path: str
    scope: Scope
    by: str

    def __str__(self) -> str:
        return f"{self.method} {self.path} ({self.by}, {self.scope})"

    @property
    def parts(self) -> list[str | None]:
        """The path's segments; a parameter is None."""
        return [None if "{" in part else part for part in self.path.split("/")]


class Access:
    """Decides about requests. Raises ConfigError for lists that contradict themselves.

    ``files`` are the prefixes of static files, which are open.
    """

    def __init__(self, served: Iterable[Served], files: Sequence[str] = ()) -> None:
        self._served = tuple(served)
        self._files = tuple(files)
        check(self._served, self._files)
        opened = [item for item in self._served if item.scope == "open"]
        self._open = frozenset((item.method, item.path) for item in opened) | frozenset(
            ("HEAD", item.path) for item in opened if item.method == "GET"
        )
        self._listed = {scope: _patterns(self._served, scope) for scope in ("chat", "admin")}
        self._chat_roots = frozenset(
            ROOT.findall(item.path)[0] for item in self._served if item.scope == "chat"
        )

    def is_open(self, method: str, path: str) -> bool:
        """Whether a request needs no credential."""
        if (method, path) in self._open:
            return True
        return path.startswith(self._files) and method in ("GET", "HEAD")

    def check(self, user: Principal, *, method: str, path: str) -> None:
        """Raises Forbidden where scope chat ends, NotFound and WrongMethod where there is nothing
        below an address of that scope."""
        if "v1" in user.scopes and not (path == "/v1" or path.startswith("/v1/")):
            raise Forbidden("this key is for /v1 only; use one of scope chat", code="scope")
        if "admin" in user.scopes or self._is_listed("chat", method, path):
            return
        # The router leads from an address with a slash at its end to the one without.
        if path.endswith("/") and self._is_listed("chat", method, path.rstrip("/")):
            return
        root = ROOT.match(path)
        if self._is_listed("admin", method, path) or not root or root[0] not in self._chat_roots:
            raise Forbidden(REFUSALS[user.kind], code="scope")
        known = [name for name in self._listed["chat"] if self._is_listed("chat", name, path)]
        if known:
            raise WrongMethod(known)
        raise NotFound(NOTHING_HERE)

    def _is_listed(self, scope: Scope, method: str, path: str) -> bool:
        pattern = self._listed[scope].get(method)
        return pattern is not None and pattern.fullmatch(path) is not None


def check(served: Sequence[Served], files: tuple[str, ...]) -> None:
    """Raises ConfigError when two entries serve the same, or an address has no one scope."""
    for item in served:
        if problem := _problem(item, files):
            raise ConfigError(f"{item}: {problem}")
    with_parts = [(item, item.parts) for item in served]
    for (one, parts), (other, others) in combinations(with_parts, 2):
        if one.method == other.method and parts == others:
            raise ConfigError(f"{one} and {other} are the same; take one out of the list")
        same_method = _read(one.method) == _read(other.method)
        if one.scope != other.scope and same_method and _overlap(parts, others):
            raise ConfigError(f"{one} and {other} can be one address; give both the same scope")


def _problem(item: Served, files: tuple[str, ...]) -> str:
    if not item.path.startswith("/") or "//" in item.path:
        return "a path begins with one slash"
    if item.path != "/" and item.path.endswith("/"):
        return "a path has no slash at its end; the server leads from there to the one without"
    if ":path}" in item.path:
        return "a parameter is one segment of the path, so that the guard can tell routes apart"
    if item.scope == "open" and "{" in item.path:
        return "an open address has no parameters"
    if item.path.startswith(files):
        return "static files are here, and they are open"
    return ""


def _read(method: str) -> str:
    """HEAD is GET: what is open for one is open for the other."""
    return "GET" if method == "HEAD" else method


def _overlap(parts: list[str | None], others: list[str | None]) -> bool:
    """Whether one address can match both."""
    if len(parts) != len(others):
        return False
    pairs = zip(parts, others, strict=True)
    return all(a == b or a is None or b is None for a, b in pairs)


def _patterns(served: Sequence[Served], scope: Scope) -> dict[str, re.Pattern[str]]:
    """For each method, what matches the addresses of a scope."""
    found: dict[str, list[str]] = {}
    for item in served:
        if item.scope == scope:
            parts = ("[^/]+" if part is None else re.escape(part) for part in item.parts)
            found.setdefault(item.method, []).append("/".join(parts))
    return {method: re.compile("|".join(paths)) for method, paths in found.items()}
