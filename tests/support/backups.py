"""Backup files made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.backup.file import Backup, Writer, check
from core.backup.snapshot import Key
from core.home.files import new_file

HEADER = {"state_format": 1, "product": "test", "created_at": "2031-01-03T00:00:00+00:00"}

KEY = bytes(range(32))
"""What backups of tests are signed with."""


def written_by_hand(path: Path, entries: list[Key], **header: Any) -> Backup:
    """A backup of these keys."""
    with new_file(path) as file:
        writer = Writer(file, HEADER | header, key=KEY)
        for key in entries:
            writer.key(key)
        writer.end({"keys": len(entries)})
    return check(path, key=KEY)
