"""Tool results that are kept whole beside the conversation: bounded, fenced, gone with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.backup.file import check
from core.backup.restore import restore
from core.backup.write import write_backup
from core.conversations.threads import Threads
from core.engine.kept import (
    MAX_BYTES,
    MAX_RESULT_BYTES,
    MAX_RESULTS,
    POINTER,
    KeptResults,
    is_kept,
    pointer,
    result_id,
)
from core.errors import Fenced
from core.store import keys
from core.store.client import Store
from tests.support.backups import KEY
from tests.support.desk import USER, Desk

NAMES = [result_id("t.r", f"call_{number}") for number in range(40)]


async def kept_names(desk: Desk, thread: str) -> list[str]:
    return [name for name in NAMES if await KeptResults(desk.store).read(thread, name) is not None]


async def test_a_result_comes_back_whole(desk: Desk) -> None:
    kept, thread = KeptResults(desk.store), await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    text = "длинный 🙂\x00\n" * 5000
    assert await kept.keep(turn, NAMES[0], text) == len(text)
    assert await kept.keep(turn, NAMES[0], text) == len(text)
    assert await kept.read(thread, NAMES[0]) == text
    assert await kept.read(thread, NAMES[1]) is None
    assert await kept.read(thread, "order") is None
    assert await kept.read(await desk.thread(), NAMES[0]) is None


async def test_the_oldest_make_room(desk: Desk) -> None:
    kept, thread = KeptResults(desk.store), await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    for name in NAMES:
        await kept.keep(turn, name, "x" * 5000)
    assert await kept_names(desk, thread) == NAMES[-MAX_RESULTS:]
    half = "я" * (MAX_BYTES // 4)
    await kept.keep(turn, NAMES[0], half)
    await kept.keep(turn, NAMES[1], half)
    assert await kept_names(desk, thread) == NAMES[:2]
    await kept.keep(turn, NAMES[2], "short")
    assert await kept_names(desk, thread) == NAMES[1:3]
    assert await desk.redis.memory_usage(keys.kept(thread), samples=0) < 2 * MAX_BYTES


async def test_of_a_monster_the_beginning_is_kept(desk: Desk) -> None:
    kept, thread = KeptResults(desk.store), await desk.thread()
    await desk.send(thread)
    count = await kept.keep(await desk.claim(thread), NAMES[0], "a" + "я" * MAX_RESULT_BYTES)
    assert count == MAX_RESULT_BYTES // 2
    text = await kept.read(thread, NAMES[0])
    assert text == "a" + "я" * (count - 1)


async def test_a_worker_that_lost_the_conversation_keeps_nothing(desk: Desk) -> None:
    """Nor does a turn whose conversation was deleted: nothing may come back."""
    kept, thread = KeptResults(desk.store), await desk.thread()
    await desk.send(thread)
    turn = await desk.claim(thread)
    await kept.keep(turn, NAMES[0], "x")
    await Threads(desk.store).delete(USER, thread)
    assert not await desk.redis.exists(keys.kept(thread))
    with pytest.raises(Fenced):
        await kept.keep(turn, NAMES[0], "x")
    assert not await desk.redis.exists(keys.kept(thread))


async def test_it_lives_as_long_as_an_ephemeral_conversation(desk: Desk) -> None:
    thread = await desk.thread(ttl=100)
    await desk.send(thread)
    turn = await desk.claim(thread)
    await KeptResults(desk.store).keep(turn, NAMES[0], "x")
    name = keys.kept(thread)
    assert 0 < await desk.redis.ttl(name) <= 100
    for _ in range(2):
        await desk.redis.expire(name, 5)
        await desk.mailbox().renew(turn, desk.settings)
        assert await desk.redis.ttl(name) > 50
    await desk.redis.expire(name, 5)
    await desk.finish(turn)
    assert await desk.redis.ttl(name) > 50


async def test_a_backup_holds_it(desk: Desk, empty: Store, tmp_path: Path) -> None:
    thread = await desk.thread()
    await desk.send(thread)
    await KeptResults(desk.store).keep(await desk.claim(thread), NAMES[0], "x" * 5000)
    written = await write_backup(desk.store, tmp_path / "backup", key=KEY)
    await restore(empty, check(written.path, key=KEY))
    assert await KeptResults(empty).read(thread, NAMES[0]) == "x" * 5000


def test_names_are_the_same_for_a_resumed_turn_and_for_no_other() -> None:
    assert result_id("t.r1", "call_0") == result_id("t.r1", "call_0")
    assert len({result_id(run, call) for run in ("t.r1", "t.r2") for call in ("a", "b")}) == 4


@pytest.mark.parametrize(("shown", "kept", "total"), [(9, 9, 9), (5, 9, 9), (5, 8, 9)])
def test_the_pointer_is_found_again(shown: int, kept: int, total: int) -> None:
    text = "some\n[text]" + pointer(NAMES[0], shown=shown, kept=kept, total=total)
    assert is_kept(text, NAMES[0])
    assert not is_kept(text, NAMES[1])
    assert not is_kept(text + "\nmore", NAMES[0])
    found = POINTER.search(text)
    assert found is not None
    assert text.removesuffix(found.group()) == "some\n[text]"
