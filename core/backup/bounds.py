"""How much a record of a backup may make of itself when it is read.

A byte of msgpack can become an object of fifty: a hostile file of 200 KB took gigabytes. So the
objects are counted before any of them is made.
"""

from __future__ import annotations

MAX_RECORD = 64 << 20
"""Bytes of one record. A record holds about a MiB, or one item that is longer."""

MAX_OBJECTS = 200_000
"""Objects of one record. Ours have some thousands: 2,000 items, and the fields of entries."""

LENGTHS = {
    **{0xC4: (1, 1, 0), 0xC5: (2, 1, 0), 0xC6: (4, 1, 0)},  # bin
    **{0xD9: (1, 1, 0), 0xDA: (2, 1, 0), 0xDB: (4, 1, 0)},  # str
    **{0xDC: (2, 0, 1), 0xDD: (4, 0, 1), 0xDE: (2, 0, 2), 0xDF: (4, 0, 2)},  # array, map
}
"""First byte → (bytes that tell a length, bytes of each, objects of each). The numbers are those of
the msgpack specification."""

PLAIN = {
    **{0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8},
    **{0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8},
}
"""First byte → bytes that follow: nil, booleans, floats, integers. Extensions are none of ours."""


def check_bounds(body: bytes) -> None:
    """Raises ValueError for a record that would become too large, or is no msgpack of ours."""
    at, left, seen = 0, 1, 0
    end = len(body)
    while left:
        if at >= end:
            raise ValueError("a record is cut")
        size, inner = _next(body, at)
        at += size
        seen += 1
        left += inner - 1
        if seen + left > MAX_OBJECTS:
            raise ValueError("a record holds too much")
    if at != end:
        raise ValueError("a record is longer than it says")


def _next(body: bytes, at: int) -> tuple[int, int]:
    """Bytes of the object that begins here, and how many objects are in it."""
    first = body[at]
    if first <= 0x7F or first >= 0xE0:
        return 1, 0
    if first <= 0x8F:
        return 1, 2 * (first & 0x0F)
    if first <= 0x9F:
        return 1, first & 0x0F
    if first <= 0xBF:
        return 1 + (first & 0x1F), 0
    if first in PLAIN:
        return 1 + PLAIN[first], 0
    if first not in LENGTHS:
        raise ValueError("a record holds a value that is none of ours")
    width, each, objects = LENGTHS[first]
    count = int.from_bytes(body[at + 1 : at + 1 + width])
    return 1 + width + each * count, objects * count
