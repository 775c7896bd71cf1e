"""Backups that were written to do harm: what they plant, and what reading them costs."""

from __future__ import annotations

import hashlib
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import orjson
import ormsgpack
import pytest

from core.accounts.api_keys import create_key, find_key, list_keys
from core.accounts.credentials import digest
from core.accounts.passwords import reset_password, set_first_password
from core.accounts.sessions import create_session, find_session
from core.backup.file import Backup, BackupUnusable, check, parts
from core.backup.restore import check_signature, restore
from core.backup.snapshot import Key
from core.backup.write import write_backup
from core.store import keys
from core.store.client import Store
from core.store.opening import RESTORING_FIELD
from tests.support.backups import HEADER, KEY, written_by_hand

ANOTHER = bytes(32)
MIB = 1 << 20


def by_hand(path: Path, records: list[Any], **header: Any) -> Path:
    """An unsigned backup of these records, whatever they are, with a right checksum."""
    first = orjson.dumps({"assistant_backup": 1, **HEADER, **header}) + b"\n"
    packed = [r if isinstance(r, bytes) else ormsgpack.packb(r) for r in records]
    plain = b"".join(len(body).to_bytes(4, "big") + body for body in packed)
    zipped = zlib.compressobj(9, zlib.DEFLATED, 31)
    whole = first + zipped.compress(plain) + zipped.flush()
    path.write_bytes(whole + hashlib.sha256(whole).digest())
    return path


def record(key: Key) -> list[Any]:
    return ["k", key.name, key.type, key.expires_at, key.last_id, key.start, key.items]


def of_hash(name: str, **fields: str) -> Key:
    items = [word.encode() for pair in fields.items() for word in pair]
    return Key(name.encode(), "hash", None, items)


# ---- the signature


async def test_a_changed_backup_with_a_right_checksum_is_refused(
    backup_file: Path, tmp_path: Path
) -> None:
    whole = backup_file.read_bytes()
    changed = whole[:-64].replace(b'"product":"', b'"product":"x')
    (tmp_path / "b").write_bytes(changed + hashlib.sha256(changed).digest() + whole[-32:])
    backup = check(tmp_path / "b", key=KEY)
    assert backup.signature == "foreign"
    with pytest.raises(BackupUnusable, match="or was changed"):
        check_signature(backup, unsigned=False)
    check_signature(backup, unsigned=True)


async def test_a_backup_of_another_installation_is_refused_until_its_key_is_there(
    backup_file: Path,
) -> None:
    assert check(backup_file, key=KEY).signature == "ours"
    for key in (ANOTHER, None):
        with pytest.raises(BackupUnusable, match=r"Copy secret.key of the installation that made"):
            check_signature(check(backup_file, key=key), unsigned=False)


# ---- what may be planted


async def planted(store: Store, tmp_path: Path) -> tuple[Backup, list[str]]:
    """A backup with credentials that no list names, and their secrets."""
    redis = store.redis
    await set_first_password(redis, "correct horse")
    _, listed = await create_key(redis, "owner", "mine", "admin")
    _, orphan = await create_key(redis, "owner", "evil", "admin")
    _, foreign = await create_key(redis, "owner", "evil too", "admin")
    session = await create_session(redis, "owner", days=30)
    await write_backup(store, tmp_path / "good", key=KEY)
    entries = list(parts(check(tmp_path / "good", key=KEY)))
    index = next(key for key in entries if key.text == keys.api_keys("owner"))
    ids = {value: name for name, value in index.fields().items()}
    kept = {ids[digest(listed).encode()]: digest(listed).encode()}
    # Named by its account, but under another id.
    kept[b"key_other"] = digest(foreign).encode()
    entries[entries.index(index)] = Key(
        index.name, "hash", None, [word for pair in kept.items() for word in pair]
    )
    hashed = await redis.hgetall(keys.session(digest(session)))
    names = {name.decode(): value.decode() for name, value in hashed.items()}
    entries += [
        of_hash(keys.session(digest(session)), **names),
        Key(keys.sessions("owner").encode(), "set", None, [digest(session).encode()]),
        Key(keys.setup_token().encode(), "string", None, [digest("token").encode()]),
    ]
    return written_by_hand(tmp_path / "b", entries, state_format=2), [
        listed,
        orphan,
        foreign,
        session,
    ]


async def test_a_changed_backup_planted_an_administrator_whom_nobody_could_see(
    store: Store, empty: Store, tmp_path: Path
) -> None:
    backup, (listed, orphan, foreign, session) = await planted(store, tmp_path)
    restored = await restore(empty, backup)
    assert restored.refused == 5
    assert await find_key(empty, digest(listed))
    for secret in (orphan, foreign):
        assert await find_key(empty, digest(secret)) is None
    assert await find_session(empty, digest(session)) is None
    assert [key["name"] for key in await list_keys(empty.redis, "owner")] == ["mine"]
    names = {name.decode() async for name in empty.redis.scan_iter(match="asst:auth:*")}
    assert names == {keys.api_key(digest(listed))}


async def orphans(store: Store) -> tuple[str, str]:
    """A key and a session that were written to Redis without a list."""
    _, key = await create_key(store.redis, "owner", "evil", "admin")
    token = await create_session(store.redis, "owner", days=30)
    await store.redis.delete(keys.api_keys("owner"), keys.sessions("owner"))
    return digest(key), digest(token)


async def test_an_unlisted_credential_opens_nothing_and_goes_with_a_new_password(
    store: Store,
) -> None:
    await set_first_password(store.redis, "correct horse")
    key, session = await orphans(store)
    assert await find_key(store, key) is None
    assert await find_session(store, session) is None
    await reset_password(store.redis, "battery staple", account_id="owner")
    assert not await store.redis.exists(keys.api_key(key), keys.session(session))


# ---- what it may cost to read one


INSTALLATION = of_hash(keys.installation(), format="1")
END = ["e", {"keys": 1}]


MALFORMED: list[list[Any]] = [
    [],
    [{}],
    [[]],
    [["e"]],
    [["e", {}]],
    [["e", 5]],
    ["text", END],
    [["k"], END],
    [["k", b"asst:x"], END],
    [record(INSTALLATION)],
    [record(INSTALLATION), END, record(INSTALLATION)],
    [record(INSTALLATION), ["e", {"keys": "1"}]],
    [record(INSTALLATION), ["e", {"keys": True}]],
    [record(Key(b"asst:\xff", "string", None, [b"x"])), END],
    [record(Key(keys.installation().encode(), "string", None, [b"1"])), END],
    [record(of_hash(keys.installation(), format="99")), END],
    [record(of_hash(keys.installation(), created_at="x")), END],
    [record(Key(b"asst:caps:x", "stream", None, [[]], b"1-1")), END],
    [record(Key(b"asst:caps:x", "stream", None, [5], b"1-1")), END],
    [b"\xc1", END],
    [b"\xc7\x00\x01", END],
    [b"\xdd\xff\xff\xff\xff", END],
    [b"\xc6\xff\xff\xff\xff", END],
    [b"\x91" * 100_000 + b"\xc0", END],
    [b"", END],
]


@pytest.mark.parametrize("records", MALFORMED)
def test_a_malformed_backup_ends_in_words(records: list[Any], tmp_path: Path) -> None:
    with pytest.raises(BackupUnusable, match="damaged or cut short"):
        check(by_hand(tmp_path / "b", records), key=KEY)


@pytest.mark.parametrize(
    "header",
    [{"assistant_backup": v} for v in (0, -1, True, "1", None, 1.5)]
    + [{"state_format": v} for v in (0, -1, True, "1", None)],
)
def test_an_odd_header_ends_in_words(header: dict[str, Any], tmp_path: Path) -> None:
    records = [record(INSTALLATION), END]
    with pytest.raises(BackupUnusable, match="damaged or cut short"):
        check(by_hand(tmp_path / "b", records, **header), key=KEY)


async def test_marks_in_a_backup_left_a_dead_home(empty: Store, tmp_path: Path) -> None:
    marked = of_hash(keys.installation(), format="1", restoring="now", restoring_into_empty="1")
    await restore(empty, check(by_hand(tmp_path / "b", [record(marked), END]), key=KEY))
    assert await empty.redis.hgetall(keys.installation()) == {b"format": b"1"}
    assert not await empty.redis.hexists(keys.installation(), RESTORING_FIELD)


def test_the_header_reaches_the_terminal_clean(tmp_path: Path) -> None:
    bad = {"product": "\x1b]0;owned\x07\u202e", "created_at": "x" * 1000}
    backup = check(by_hand(tmp_path / "b", [record(INSTALLATION), END], **bad), key=KEY)
    assert backup.header["product"] == "?]0;owned??"
    assert len(backup.header["created_at"]) == 64
    newer = by_hand(tmp_path / "newer", [], assistant_backup=99, **bad)
    with pytest.raises(BackupUnusable) as refused:
        check(newer, key=KEY)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("head", "unit", "count"),
    [
        (b"\xdd\x03\x00\x00\x00", b"\x90", 48 * MIB),
        (b"\xdd\x03\x00\x00\x00", b"\xc0", 48 * MIB),
        (b"\xdf\x01\x80\x00\x00", b"\x00\x80", 24 * MIB),
    ],
)
def test_a_small_file_made_gigabytes(head: bytes, unit: bytes, count: int, tmp_path: Path) -> None:
    path = by_hand(tmp_path / "b", [head + unit * count, END])
    assert path.stat().st_size < MIB
    tracemalloc.start()
    with pytest.raises(BackupUnusable):
        check(path, key=KEY)
    assert tracemalloc.get_traced_memory()[1] < 256 * MIB
    tracemalloc.stop()


def test_a_record_of_a_gibibyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    first = orjson.dumps({"assistant_backup": 1, **HEADER}) + b"\n"
    zipped = zlib.compressobj(9, zlib.DEFLATED, 31)
    whole = first + zipped.compress((1 << 30).to_bytes(4, "big") + bytes(MIB)) + zipped.flush()
    (tmp_path / "b").write_bytes(whole + hashlib.sha256(whole).digest())
    with pytest.raises(BackupUnusable):
        check(tmp_path / "b", key=KEY)
