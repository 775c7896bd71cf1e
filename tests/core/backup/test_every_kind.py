"""One key of every kind: backup, export and erasing treat it as its declaration says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from api.routes.export import exported
from core.accounts.api_keys import create_key
from core.accounts.sessions import create_session
from core.backup.erase import erase_user
from core.backup.file import check, parts
from core.backup.write import write_backup
from core.conversations.transcript import pack_record
from core.store import keys
from core.store.kinds import Kind
from tests.support.backups import KEY
from tests.support.desk import USER, Desk

PLANT: dict[str, Sequence[str]] = {
    "hash": ("HSET", "1", "1"),
    "list": ("RPUSH", "1"),
    "set": ("SADD", "1"),
    "stream": ("XADD", "*", "a", "1"),
    "string": ("SET", "1"),
    "zset": ("ZADD", "1", "1"),
}
"""Command that makes a key of a type, without the name."""


async def plant(desk: Desk) -> str:
    """A user with one key of every kind, made by its owner where others read it."""
    thread = await desk.thread()
    record = {"id": "m1", "role": "user", "text": "hello", "created_at": "now"}
    for message in ("m1", "m2"):
        await desk.send(thread, message)
    await desk.finish(await desk.claim(thread), records=[pack_record(record)], take_next=False)
    await create_key(desk.redis, USER, "a key", "chat")
    await create_session(desk.redis, USER, days=1)
    await desk.redis.sadd(keys.checkpoint(thread, "n"), "")
    present = {keys.KINDS.kind_of(name.decode()) for name in await desk.redis.keys("*")}
    for kind in keys.KINDS:
        if kind.stored and kind not in present:
            first, *more = PLANT[kind.type]
            await desk.redis.execute_command(first, example(kind, thread), *more)
    return thread


def example(kind: Kind, thread: str) -> str:
    """A name of the kind."""
    subject = {"thread": [thread], "user": [USER], "installation": []}[kind.subject]
    return kind.name(*subject, *(["2026-11-22"] if re.search("<.*>", kind.part) else []))


async def stored(desk: Desk) -> dict[str, Kind]:
    """All keys with their kinds."""
    names = [name.decode() for name in await desk.redis.keys("*")]
    return {name: kind for name in names if (kind := keys.KINDS.kind_of(name))}


async def test_a_backup_holds_the_kinds_that_it_should(desk: Desk, tmp_path: Path) -> None:
    await plant(desk)
    there = await stored(desk)
    assert set(there.values()) == {kind for kind in keys.KINDS if kind.stored}
    await write_backup(desk.store, tmp_path / "b", key=KEY)
    found = {key.text for key in parts(check(tmp_path / "b", key=KEY))}
    assert found == {name for name, kind in there.items() if kind.backup != "left out"}


async def test_an_export_tells_of_the_kinds_that_it_should(desk: Desk) -> None:
    await plant(desk)
    there = await stored(desk)
    dumps = {name: await desk.redis.dump(name) for name in there}
    whole = await export(desk)
    telling: set[Kind] = set()
    for kind in set(there.values()):
        await desk.redis.flushall()
        for name in (name for name, other in there.items() if other is not kind):
            await desk.redis.restore(name, 0, dumps[name])
        if await export(desk) != whole:
            telling.add(kind)
    declared = {kind for kind in keys.KINDS if kind.export}
    silent = {kind.part for kind in declared - telling}
    assert silent == set(), "export=True, but core/backup/export.py does not write it"
    assert {kind.part for kind in telling - declared} == set(), "exported without export=True"


async def export(desk: Desk) -> dict[str, Any]:
    """All but the time."""
    pieces = [piece async for piece in exported(desk.store, USER)]
    found = orjson.loads(b"".join(pieces))
    del found["exported_at"]
    return found


async def test_nothing_of_a_user_and_their_conversations_is_left_when_they_are_erased(
    desk: Desk,
) -> None:
    await desk.redis.delete(keys.lease(await plant(desk)))
    await erase_user(desk.store, USER)
    left = await stored(desk)
    assert {name for name, kind in left.items() if kind.subject != "installation"} == set()
