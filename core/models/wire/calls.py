"""Puts streamed tool calls together, whatever way the server numbers and cuts them."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import orjson

from core.models.wire.pieces import InvalidCall, ToolCall, ToolCallsPiece
from core.models.wire.values import read_value

MAX_RAW_SHOWN = 2000
MAX_CALLS = 64
"""Calls of one answer."""

MAX_NAME = 128
"""Characters of the name of a tool, and of the id of a call."""

TOO_MANY = (
    f"The model wrote more than {MAX_CALLS} tool calls in one answer; none was run. Try again, or "
    "choose another model."
)
NO_OBJECT = (
    "The arguments are not a JSON object of plain values; nothing was run. Call the tool again."
)
LABEL = re.compile(r"\s*+(?:```\s*+)?+(?:json\b)?+\s*+(?=\{)", re.IGNORECASE)
"""What some models write before the object."""

MARKS = re.compile(r"\\.|[\\\"'{}\[\]]", re.DOTALL)
"""What decides where an object ends; a lone backslash is the last character of its piece."""


@dataclass(slots=True)
class _Call:
    id: str
    index: int | None
    name: str = ""
    parts: list[str] = field(default_factory=list[str])
    looked_at: int = 0
    depth: int = 0
    quote: str = ""
    escaped: bool = False
    whole: bool = False

    @property
    def raw(self) -> str:
        return "".join(self.parts)

    @property
    def raw_is_placeholder(self) -> bool:
        """The first piece is an empty object: some servers send one before the arguments."""
        return len(self.parts) == 1 and self.parts[0].strip() in ("{}", "null")

    @property
    def repeats(self) -> bool:
        """The last part repeats all of them: some servers send what there is so far, again and
        again, or the whole once more at the end."""
        last, before = self.parts[-1], self.parts[:-1]
        grows = all(later.startswith(part) for part, later in pairwise(self.parts))
        return bool(before) and (grows or last == "".join(before))

    def restart(self) -> None:
        """Forget the arguments so far."""
        self.parts, self.looked_at, self.depth = [], 0, 0
        self.quote, self.escaped, self.whole = "", False, False

    def is_complete(self) -> bool:
        """The arguments have come to their end, by their brackets; each part is looked at once."""
        for part in self.parts[self.looked_at :]:
            self._look_at(part)
        self.looked_at = len(self.parts)
        return self.whole or (len(self.parts) == 1 and self.parts[0].strip() == "null")

    def _look_at(self, part: str) -> None:
        for mark in MARKS.findall(part, int(self.escaped)):
            if mark[0] == "\\":
                continue
            if self.quote:
                self.quote = "" if mark == self.quote else self.quote
            elif mark in "\"'":
                self.quote = mark
            else:
                self.depth += 1 if mark in "{[" else -1
            self.whole = self.depth <= 0 and not self.quote
        tail = len(part) - len(part.rstrip("\\"))
        # A backslash at the end escapes the first character of the next part.
        self.escaped = (tail - (self.escaped and tail == len(part))) % 2 == 1


class CallAssembler:
    """Collects deltas of tool calls, keyed by id and then by index."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._first_of_id: dict[str, _Call] = {}
        self._last_of_index: dict[int, _Call] = {}
        self._size = 0
        self.too_many = False

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def size(self) -> int:
        """Characters of names, ids and arguments so far, also of those that were of no use."""
        return self._size

    def add(self, deltas: Iterable[Any]) -> None:
        """Add the ``tool_calls`` of one chunk; what is no object is ignored."""
        for delta in deltas:
            if isinstance(delta, dict):
                self._add(cast("dict[str, Any]", delta))

    def _add(self, delta: dict[str, Any]) -> None:
        function: Any = delta.get("function")
        fields = cast("dict[str, Any]", function) if isinstance(function, dict) else delta
        name, arguments = fields.get("name"), fields.get("arguments")
        self._size += sum(len(x) for x in (name, delta.get("id")) if isinstance(x, str))
        call = self._find(delta.get("id"), delta.get("index"), name)
        if call is None:
            self.too_many = True
            return
        if not call.name and isinstance(name, str):
            call.name = name[: MAX_NAME + 1]
        if isinstance(arguments, (dict, list)):
            arguments = dump(cast("object", arguments))
        if isinstance(arguments, str) and arguments:
            if call.parts and call.raw_is_placeholder:
                call.restart()
            call.parts.append(arguments)
            self._size += len(arguments)

    def _find(self, call_id: object, index: object, name: object) -> _Call | None:
        """The call that a delta belongs to; None: there are too many."""
        call_id = _short(call_id) if isinstance(call_id, str) else ""
        index = index if isinstance(index, int) else None
        if call_id:
            return self._by_id(call_id, index, name)
        known = self._last(index)
        if known is None or (name and known.name and known.is_complete()):
            return self._new("", index)
        return known

    def _by_id(self, call_id: str, index: int | None, name: object) -> _Call | None:
        if call := self._first_of_id.get(call_id):
            if index is None or call.index in (None, index):
                return call
            # One id for several calls: the index tells them apart, and each gets an id of its own.
            return self._last(index) or self._new("", index)
        known = self._last(index)
        if known is not None and not known.id and not known.is_complete():
            known.id = call_id
            self._first_of_id[call_id] = known
            return known
        goes_on = known is not None and index is not None and not name and known.name
        if known is not None and goes_on and not known.is_complete():
            # Some servers make up an id for every chunk; only a name begins a call.
            return known
        return self._new(call_id, index)

    def _last(self, index: int | None) -> _Call | None:
        if index is None:
            return self._calls[-1] if self._calls else None
        return self._last_of_index.get(index)

    def _new(self, call_id: str, index: int | None) -> _Call | None:
        if len(self._calls) == MAX_CALLS:
            return None
        call = _Call(call_id, index)
        self._calls.append(call)
        if call_id:
            self._first_of_id.setdefault(call_id, call)
        if index is not None:
            self._last_of_index[index] = call
        return call

    def result(self) -> ToolCallsPiece:
        """All calls; arguments that are no JSON object make a call invalid, never a guess."""
        calls: list[ToolCall] = []
        invalid: list[InvalidCall] = []
        for call in self._calls:
            raw, call_id, name = call.raw, call.id or new_call_id(), clean_name(call.name)
            arguments = read_arguments(raw)
            if arguments is None and call.repeats:
                arguments = read_arguments(call.parts[-1])
            if not name:
                invalid.append(invalid_call("", raw, "The call names no tool.", call_id))
            elif len(name) > MAX_NAME:
                why = f"No tool has a name of more than {MAX_NAME} characters; nothing was run."
                invalid.append(invalid_call(name, raw, why, call_id))
            elif arguments is None:
                invalid.append(invalid_call(name, raw, NO_OBJECT, call_id))
            else:
                calls.append(ToolCall(call_id, name, arguments))
        return ToolCallsPiece(tuple(calls), tuple(invalid))


def _short(call_id: str) -> str:
    """The id, or where it is very long, one that stands for it."""
    if len(call_id) <= MAX_NAME:
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:32]


def new_call_id() -> str:
    """An id for a call that came without one."""
    return f"call_{uuid.uuid4().hex[:24]}"


def clean_name(name: str) -> str:
    """gpt-oss leaks its control tokens and its ``functions.`` prefix into names."""
    return name.partition("<|")[0].strip().removeprefix("functions.")


def dump(value: object) -> str:
    """Compact JSON text."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        pass
    try:
        return json.dumps(value, ensure_ascii=True, default=str)
    except RecursionError:
        return '"nested too deeply"'


def read_arguments(raw: str) -> dict[str, Any] | None:
    """The arguments as a dict, or None. Reads JSON, JSON within a JSON string, and Python literals
    whole; never completes a broken text, because half a path is a valid wrong path."""
    text = raw.strip()
    if not text or text == "null":
        return {}
    if label := LABEL.match(text):
        text = text[label.end() :].removesuffix("```")
    for _ in range(2):
        try:
            value = read_value(text)
        except ValueError:
            return None
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
        if not isinstance(value, str):
            return None
        text = value
    return None


def invalid_call(name: str, raw: str, error: str, call_id: str = "") -> InvalidCall:
    """A call that is answered with what was wrong with it."""
    return InvalidCall(call_id or new_call_id(), name[:MAX_NAME], raw[:MAX_RAW_SHOWN], error)
