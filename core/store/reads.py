"""Reads that travel together, in the round trip of something else or in one of their own.

The code that needs something makes the same read again and asks ``Found`` whether it was brought;
so whatever sends the reads needs to know nothing about them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from core.store.client import Sent

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Read(Generic[T_co]):
    """A read: what is sent, and what becomes of the reply. Two that send the same are equal."""

    sent: Sent
    decode: Callable[[Any], T_co] = field(compare=False)


Reading: TypeAlias = Callable[[str, str], Read[Any]]
"""Gives the read for a thread and its user."""


@dataclass(frozen=True, slots=True)
class Found:
    """What reads have brought."""

    replies: Mapping[Sent, Any] = field(default_factory=dict[Sent, Any])

    def __contains__(self, read: Read[Any]) -> bool:
        return read.sent in self.replies

    def __getitem__(self, read: Read[T]) -> T:
        """Raises KeyError where the read was not sent, or failed."""
        return read.decode(self.replies[read.sent])


def found(reads: Sequence[Read[Any]], replies: Sequence[Any]) -> Found:
    """The replies by their reads, without those that are errors."""
    pairs = zip(reads, replies, strict=True)
    return Found({r.sent: reply for r, reply in pairs if not isinstance(reply, Exception)})
