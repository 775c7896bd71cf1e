"""Whose backup it is: an HMAC with the secret key of the data folder, at the end of the file.

A checksum says that a file is whole; only the signature says that nobody wrote another one.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

Signature = Literal["ours", "foreign", "none"]
"""Made with our key; with another one, or changed afterwards; of a version that signed nothing."""

SIZE = 32
PURPOSE = b"assistant backup 2"
"""Bound in, so that the key signs nothing else with the same result."""


class Signer:
    """Signs what it is fed."""

    def __init__(self, key: bytes) -> None:
        purpose = hmac.digest(key, PURPOSE, hashlib.sha256)
        self._hmac = hmac.new(purpose, digestmod=hashlib.sha256)

    def update(self, data: bytes) -> None:
        """More of the file."""
        self._hmac.update(data)

    def digest(self) -> bytes:
        """The signature of all of it."""
        return self._hmac.digest()

    def signed(self, signature: bytes) -> bool:
        """Whether this is the signature of all of it."""
        return hmac.compare_digest(self._hmac.digest(), signature)
