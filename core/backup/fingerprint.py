"""A fingerprint of stored content that does not depend on the order in which it is read.

Each item (a field of a hash, an entry of a stream, …) is hashed together with its key; the sum of
the hashes is the fingerprint. Times of expiry count only as "expires": servers before Redis 7 tell
them with a millisecond of noise. It tells two states apart; a file's integrity has a checksum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import ormsgpack

from core.backup.snapshot import Key

MODULUS = 1 << 256
PAIRS = frozenset(("hash", "zset"))


class Content:
    """Sums up keys, whole or in parts, in any order."""

    def __init__(self) -> None:
        self._lasting = 0
        self._expiring = 0
        self.keys = 0

    def add(self, key: Key) -> None:
        """Count a key or a part of one."""
        head = [key.name, key.type, key.expires_at is not None, key.last_id]
        seed = hashlib.sha256(ormsgpack.packb(head)).digest()
        total = sum(_number(seed, item) for item in items_of(key))
        if key.start == 0:
            self.keys += 1
            total += int.from_bytes(seed)
        if key.expires_at is None:
            self._lasting = (self._lasting + total) % MODULUS
        else:
            self._expiring = (self._expiring + total) % MODULUS

    @property
    def lasting(self) -> str:
        """Fingerprint of what does not expire: time alone does not change it."""
        return f"{self._lasting:064x}"

    @property
    def whole(self) -> str:
        """Fingerprint of everything."""
        return f"{(self._lasting + self._expiring) % MODULUS:064x}"


def items_of(key: Key) -> Iterator[Any]:
    """What makes up the value; order counts only where the type has one."""
    if key.type in PAIRS:
        yield from zip(key.items[::2], key.items[1::2], strict=True)
    elif key.type == "list":
        yield from enumerate(key.items, key.start)
    else:
        yield from key.items


def _number(seed: bytes, item: Any) -> int:
    return int.from_bytes(hashlib.sha256(seed + ormsgpack.packb(item)).digest())
