"""Reads what a model wrote as JSON, or nearly so: only values that JSON has, never an exception
other than ValueError."""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any, NoReturn, cast

import orjson

from core.events import scrub

MAX_DEPTH = 64
"""Levels of objects and lists; no tool takes more, and everything behind us can store as many."""

MAX_LITERAL = 64 * 1024
"""Characters of Python literals that are read: reading them takes hundreds of times their size in
memory, and no honest call is that long."""

SPACE = re.compile(r"\s*+")
LONG_NUMBER = re.compile(r"[0-9]{19}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse)


def read_value(text: str) -> Any:
    """The value of a whole text: JSON, JSON with raw line ends in its strings, or a Python literal.

    Raises ValueError for everything else, also for NaN, numbers of more than 64 bits, and values
    nested deeper than ``MAX_DEPTH``.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _plain(_lenient(text))
    # orjson turns an integer of more than 64 bits into a float.
    if LONG_NUMBER.search(text):
        return _plain(_lenient(text))
    _check_depth(value)
    return value


def read_prefix(text: str, at: int = 0) -> tuple[Any, int] | None:
    """The JSON value that begins at ``at``, and the place behind it; None: there is none."""
    try:
        value, end = DECODER.raw_decode(text, behind(SPACE, text, at))
        return _plain(value), end
    except (ValueError, RecursionError):
        return None


def read_literal(node: ast.expr) -> Any:
    """The value of a Python literal. Raises ValueError where JSON has no such value."""
    try:
        return _plain(ast.literal_eval(node))
    except (TypeError, MemoryError, RecursionError) as error:
        raise ValueError("no literal") from error


def behind(pattern: re.Pattern[str], text: str, at: int) -> int:
    """The place behind what the pattern matches at ``at``."""
    match = pattern.match(text, at)
    return match.end() if match else at


def _lenient(text: str) -> Any:
    try:
        return json.loads(text, strict=False, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError:
        if len(text) > MAX_LITERAL:
            raise
    try:
        return ast.literal_eval(text)
    except (TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("no literal") from error


def _plain(value: Any, depth: int = 0) -> Any:
    """The value made of what JSON has. Raises ValueError where that cannot be."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        if any(not isinstance(key, str) for key, _ in pairs):
            raise ValueError("a key that is no text")
        return {scrub(key): _plain(each, depth + 1) for key, each in pairs}
    if isinstance(value, (list, tuple)):
        return [_plain(each, depth + 1) for each in cast("list[Any]", value)]
    if isinstance(value, str):
        return scrub(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError("no JSON value")


def _check_depth(value: Any) -> None:
    level: list[Any] = [value] if value.__class__ in (dict, list) else []
    for _ in range(MAX_DEPTH + 1):
        level = [
            each
            for holder in level
            for each in (holder.values() if holder.__class__ is dict else holder)
            if each.__class__ in (dict, list)
        ]
        if not level:
            return
    raise ValueError("nested too deeply")
