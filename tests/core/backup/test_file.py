"""Files that cannot be used are refused before anything is written."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import orjson
import pytest

from core.backup.file import BackupUnusable, check
from core.backup.restore import check_signature, restore
from core.backup.snapshot import Key
from core.store.client import Store
from core.store.opening import STATE_FORMAT
from tests.support.backups import HEADER, KEY, written_by_hand


async def test_a_damaged_file_is_refused_and_nothing_is_written(
    backup_file: Path, empty: Store, tmp_path: Path
) -> None:
    whole = backup_file.read_bytes()
    bad = tmp_path / "bad"
    for cut in (0, 1, 20, 60, len(whole) // 2, len(whole) - 65, len(whole) - 33, len(whole) - 1):
        bad.write_bytes(whole[:cut])
        with pytest.raises(BackupUnusable):
            check(bad, key=KEY)
    for at in range(1, len(whole), 7):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BackupUnusable):
            check_signature(check(bad, key=KEY), unsigned=False)
    bad.write_bytes(whole + b"x")
    with pytest.raises(BackupUnusable, match="damaged or cut short"):
        check(bad, key=KEY)
    with pytest.raises(BackupUnusable, match="No such file"):
        check(tmp_path / "none", key=KEY)
    assert await empty.redis.dbsize() == 0


async def test_a_file_that_is_no_backup_is_refused(tmp_path: Path) -> None:
    for text in (b"", b"PK\3\4", b'{"assistant": 1}\n', b'{"assistant_backup":"x"}\n' + b"x" * 99):
        (tmp_path / "f").write_bytes(text)
        with pytest.raises(BackupUnusable):
            check(tmp_path / "f", key=KEY)


async def test_newer_formats_are_refused(backup_file: Path, empty: Store, tmp_path: Path) -> None:
    line, _, rest = backup_file.read_bytes().partition(b"\n")
    newer = tmp_path / "newer"
    newer.write_bytes(orjson.dumps(orjson.loads(line) | {"assistant_backup": 3}) + b"\n" + rest)
    with pytest.raises(BackupUnusable, match="has backup format 3, this version reads up to 2"):
        check(newer, key=KEY)
    state = written_by_hand(tmp_path / "state", [], state_format=STATE_FORMAT + 1)
    with pytest.raises(BackupUnusable, match=f"holds state of format {STATE_FORMAT + 1}"):
        await restore(empty, state)
    assert await empty.redis.dbsize() == 0


@pytest.mark.parametrize(
    "key",
    [
        Key(b"asst-jobs:runs", "string", None, [b"a job is code"]),
        Key(b"other", "string", None, [b"x"]),
        Key(b"asst:caps:x", "hash", None, [b"odd"]),
        Key(b"asst:caps:x", "zset", None, [b"a", b"no number"]),
        Key(b"asst:caps:x", "stream", None, [[b"1-1", [b"a", b"b"]]]),
        Key(b"asst:caps:x", "module", None, [b"x"]),
    ],
)
def test_a_forged_record_is_refused(key: Key, tmp_path: Path) -> None:
    with pytest.raises(BackupUnusable):
        written_by_hand(tmp_path / "b", [key])


def test_the_checksum_is_that_of_the_documented_format(tmp_path: Path) -> None:
    written_by_hand(tmp_path / "b", [])
    whole = (tmp_path / "b").read_bytes()
    assert whole[-64:-32] == hashlib.sha256(whole[:-64]).digest()
    key = hmac.digest(KEY, b"assistant backup 2", "sha256")
    assert whole[-32:] == hmac.digest(key, whole[:-32], "sha256")
    header = orjson.loads(whole.partition(b"\n")[0])
    assert header == {"assistant_backup": 2, **HEADER}
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
