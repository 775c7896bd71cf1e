"""The reducer of the conversation's messages, for LangGraph's ``DeltaChannel``.

A delta channel rebuilds its value by replaying stored writes in batches of any size, so the result
must not depend on how writes are grouped: each message takes effect in turn, as if it came alone.
That is also where it differs from ``add_messages``: removing an unknown id does nothing, and a
message that is removed and added again in one write moves to the end. LangGraph gives messages
their ids before it saves them, so none are made up here: a replay would make up others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import (
    BaseMessage,
    BaseMessageChunk,
    RemoveMessage,
    convert_to_messages,
    message_chunk_to_message,
)
from langgraph.graph.message import REMOVE_ALL_MESSAGES


def messages_reducer(state: Sequence[Any], writes: Sequence[Any]) -> list[BaseMessage]:
    """Apply writes (each a message or a list of messages) to the messages so far; changes neither.

    A known id is replaced in place, a ``RemoveMessage`` removes its id, and one with the id
    ``REMOVE_ALL_MESSAGES`` removes everything before it.
    """
    incoming = as_messages(flat(writes))
    for n in range(len(incoming) - 1, -1, -1):
        if incoming[n].id == REMOVE_ALL_MESSAGES and isinstance(incoming[n], RemoveMessage):
            state, incoming = (), incoming[n + 1 :]
            break
    merged: list[BaseMessage | None] = [*as_messages(state)]
    touched = {message.id for message in incoming}
    # Only ids that occur in this call need a place: the state may be long, a write is short.
    places = {old.id: n for n, old in enumerate(merged) if old is not None and old.id in touched}
    places.pop(None, None)
    for message in incoming:
        place = places.get(message.id)
        if isinstance(message, RemoveMessage):
            if place is not None:
                merged[place] = None
                del places[message.id]
        elif place is not None:
            merged[place] = message
        else:
            if message.id is not None:
                places[message.id] = len(merged)
            merged.append(message)
    return [message for message in merged if message is not None]


def flat(writes: Sequence[Any]) -> list[Any]:
    """The messages of all writes in one list."""
    out: list[Any] = []
    for write in writes:
        if isinstance(write, list):
            out += cast("list[Any]", write)
        else:
            out.append(write)
    return out


def as_messages(items: Sequence[Any]) -> Sequence[BaseMessage]:
    """Whole messages for whatever LangChain accepts as one. Raises ValueError for anything else."""
    # Nearly always there is nothing to convert, and a few types are checked faster than many items.
    if all(is_whole(kind) for kind in set(map(type, items))):
        return items
    return [
        message_chunk_to_message(message) if isinstance(message, BaseMessageChunk) else message
        for message in convert_to_messages(items)
    ]


def is_whole(kind: type) -> bool:
    """Whether objects of the type are messages and not pieces of one."""
    return issubclass(kind, BaseMessage) and not issubclass(kind, BaseMessageChunk)
