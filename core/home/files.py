"""Files that appear whole or not at all, readable by our user only."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.errors import AssistantError


class FileNotWritten(AssistantError):
    """A file cannot be written: no space, no right, no such folder."""

    code = "file_not_written"


@contextmanager
def new_file(path: Path) -> Generator[IO[bytes]]:
    """A private file that takes the place of ``path`` once it is whole and on disk.

    Raises FileNotWritten; whatever ends the block early leaves nothing behind.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync_folder(path.absolute().parent)
    except OSError as error:
        raise FileNotWritten(
            f"{path} cannot be written ({error.strerror}); nothing was left behind"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
