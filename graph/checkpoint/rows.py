"""Messages as rows of msgpack: fewer bytes and less time than with LangGraph's serializer, which
names the class and every field of each message.

Only for what a row keeps exactly and conversations consist of: messages of a user, of the system,
of the model and of tools, with texts and plain metadata. ``pack`` leaves all else to the
serializer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import ormsgpack
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

Row = list[Any]

COMMON = {"content", "additional_kwargs", "response_metadata", "type", "name", "id"}
OF_MODEL = COMMON | {"tool_calls", "invalid_tool_calls", "usage_metadata"}
OF_TOOL = COMMON | {"tool_call_id", "artifact", "status"}
KINDS: dict[type, tuple[int, set[str]]] = {
    HumanMessage: (0, COMMON),
    SystemMessage: (1, COMMON),
    AIMessage: (2, OF_MODEL),
    ToolMessage: (3, OF_TOOL),
}
"""Number (it is stored) and fields of each kind."""

PLAIN = (str, int, float, bool, type(None))


def pack(messages: Sequence[object]) -> bytes | None:
    """The messages as rows; None when a row would lose something of one."""
    rows: list[Row] = []
    try:
        for message in messages:
            row = _row(message)
            if row is None:
                return None
            rows.append(row)
        return ormsgpack.packb(rows)
    except (TypeError, ValueError, RecursionError):  # half characters, giant numbers, deep nesting
        return None


def unpack(data: bytes) -> list[AnyMessage]:
    """The messages that ``pack`` was given. Raises ValueError, TypeError, LookupError."""
    return [READERS[row[0]](row) for row in ormsgpack.unpackb(data)]


def _row(message: object) -> Row | None:
    """Kind, content, id, name, additional_kwargs, response_metadata, then the fields of the kind;
    cut off behind the last one that is not empty."""
    kind = KINDS.get(type(message))
    if kind is None:
        return None
    number, names = kind
    fields, unknown = message.__dict__, cast("AnyMessage", message).model_extra
    if unknown or fields.keys() != names or type(fields["content"]) is not str:
        return None
    more, about = fields["additional_kwargs"], fields["response_metadata"]
    row: Row = [
        number,
        fields["content"],
        fields["id"],
        fields["name"],
        more or None,
        about or None,
    ]
    if number == 2:
        if fields["invalid_tool_calls"] or fields["usage_metadata"] is not None:
            return None
        row.append(fields["tool_calls"] or None)
    elif number == 3:
        if fields["artifact"] is not None:
            return None
        row += (fields["status"], fields["tool_call_id"])
    if not all(_plain(value) for value in row):
        return None
    while row[-1] is None:
        row.pop()
    return row


def _plain(value: object) -> bool:
    """Whether msgpack gives back the same value, of the same types."""
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is list:
        return all(map(_plain, cast("list[object]", value)))
    if kind is dict:
        entries = cast("dict[object, object]", value)
        return all(type(key) is str and _plain(held) for key, held in entries.items())
    return False


def _read(row: Row) -> dict[str, Any]:
    content, identity, name, more, about = (*row[1:6], None, None, None, None)[:5]
    fields: dict[str, Any] = {"content": content, "id": identity}
    if name is not None:
        fields["name"] = name
    if more:
        fields["additional_kwargs"] = more
    if about:
        fields["response_metadata"] = about
    return fields


def _of_model(row: Row) -> AIMessage:
    return AIMessage(**_read(row), tool_calls=row[6] if len(row) > 6 else [])


def _of_tool(row: Row) -> ToolMessage:
    return ToolMessage(**_read(row), status=row[6], tool_call_id=row[7])


READERS: Sequence[Callable[[Row], AnyMessage]] = (
    lambda row: HumanMessage(**_read(row)),
    lambda row: SystemMessage(**_read(row)),
    _of_model,
    _of_tool,
)
