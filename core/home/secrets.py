"""Secrets at rest: AES-256-GCM with a key file that lies outside Redis and outside backups.

Protects what a dump, a backup or a reader of Redis can see; not against code that runs as our user.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import AssistantError, ConfigError

KEY_FILE = "secret.key"
KEY_BYTES = 32
NONCE_BYTES = 12
"""96 bits, the size that GCM is defined for; random ones are safe for 2^32 values of one key."""

VERSION = "v1"

logger = logging.getLogger(__name__)


class SecretUnreadable(AssistantError):
    """A stored secret cannot be decrypted with this installation's key file."""

    code = "secret_unreadable"
    status = 409


class SecretBox:
    """Seals texts. The field's name is bound in: a sealed text cannot move to another field."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(key)
        self._key_id = hashlib.sha256(b"key id\0" + key).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"SecretBox(key {self._key_id})"

    def seal(self, field: str, text: str) -> str:
        """``v1.<key id>.<base64url of nonce and ciphertext>``; another one each time."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode("utf-8", "surrogatepass"), _bound(field))
        return f"{VERSION}.{self._key_id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, field: str, sealed: str) -> str:
        """The text. Raises SecretUnreadable, which tells a changed key from a changed value."""
        version, _, rest = sealed.partition(".")
        key_id, _, body = rest.partition(".")
        if version != VERSION:
            raise SecretUnreadable(f"{field} was stored in an unknown format; enter it again")
        if key_id != self._key_id:
            raise SecretUnreadable(
                f"{field} was encrypted with another key file; put the old {KEY_FILE} back "
                "into the data folder, or enter the value again"
            )
        try:
            raw = base64.urlsafe_b64decode(body)
            if base64.urlsafe_b64encode(raw).decode() != body:
                raise ValueError("not the one way to write it")
            plain = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound(field))
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise SecretUnreadable(f"{field} was changed in Redis; enter it again") from error
        return plain.decode("utf-8", "surrogatepass")


def open_box(home: Path) -> SecretBox:
    """The box of this data folder; makes its key file at first use. Raises ConfigError."""
    return SecretBox(load_key(home))


def load_key(home: Path) -> bytes:
    """The key in ``<home>/secret.key``, made when missing. Raises ConfigError."""
    path = home / KEY_FILE
    try:
        if not path.exists():
            create_private(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n")
        _keep_private(path)
        key = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror}; check its owner") from error
    except ValueError as error:
        raise ConfigError(_damaged(path)) from error
    if len(key) != KEY_BYTES:
        raise ConfigError(_damaged(path))
    return key


def existing_key(home: Path) -> bytes | None:
    """The key, None when there is no file yet. Raises ConfigError."""
    return load_key(home) if (home / KEY_FILE).exists() else None


def create_private(path: Path, text: str) -> bool:
    """Write a whole new file of mode 0600. False, without a change, if another process was
    faster."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and never replaces an existing file.
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _bound(field: str) -> bytes:
    return f"{VERSION}:{field}".encode()


def _damaged(path: Path) -> str:
    return (
        f"{path} is damaged; restore it from your own copy, or delete it and enter all keys "
        "and tokens again"
    )


def _keep_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
        logger.warning("%s was readable by others; it is private again", path)
