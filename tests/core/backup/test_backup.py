"""Backup and restore on a real server: identical, atomic per conversation, refused when unsure."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import SecretStr

from core.backup.file import check, parts
from core.backup.fingerprint import Content
from core.backup.restore import EMPTY_FIELD, restore
from core.backup.snapshot import Key, Snapshot
from core.backup.write import write_backup
from core.errors import ConfigError, Conflict, StoreFull
from core.home.secrets import KEY_FILE, open_box
from core.live_settings.live import LiveSettings
from core.live_settings.sealed import unreadable_secrets
from core.settings.source import load
from core.store import keys
from core.store.client import Store
from core.store.connection import connect
from core.store.opening import RESTORING_FIELD, open_store, open_untouched_store
from tests.support.backups import KEY, written_by_hand
from tests.support.desk import USER, Desk
from tests.support.waiting import wait_until


async def everything(store: Store) -> dict[bytes, Key]:
    """All keys that a backup holds. Servers give members of sets and hashes in any order."""
    return {key.name: _in_order(key) async for key in Snapshot(store).read()}


def _in_order(key: Key) -> Key:
    match key.type:
        case "set":
            return replace(key, items=sorted(key.items))
        case "hash":
            pairs = sorted(zip(key.items[::2], key.items[1::2], strict=True))
            return replace(key, items=[part for pair in pairs for part in pair])
        case _:
            return key


async def fingerprint(store: Store) -> str:
    """The fingerprint of all of them."""
    content = Content()
    for key in (await everything(store)).values():
        content.add(key)
    return content.whole


async def test_a_restored_store_is_identical(desk: Desk, empty: Store, tmp_path: Path) -> None:
    thread = await desk.thread()
    await desk.send(thread, "m1")
    await desk.finish(await desk.claim(thread))
    await desk.send(thread, "m2")
    await desk.send(thread, "m3")
    await desk.claim(thread)
    ephemeral = await desk.thread(ttl=600)
    await desk.send(ephemeral, "m4")
    written = await write_backup(desk.store, tmp_path / "b", key=KEY)
    assert (written.totals.threads, written.totals.waiting) == (2, 2)
    restored = await restore(empty, check(tmp_path / "b", key=KEY))
    assert (restored.threads, restored.users, restored.expired) == (2, 1, 0)
    assert await everything(empty) == await everything(desk.store)
    again = await write_backup(empty, tmp_path / "c", key=KEY)
    assert again.totals == written.totals
    copy = Desk(empty)
    assert await copy.redis.exists(keys.lease(thread)) == 0
    assert 0 < await copy.redis.ttl(keys.meta(ephemeral)) <= 600
    turn = await copy.claim(thread, "B")
    assert (turn.inbound.id, turn.attempt) == ("m2", 2)
    assert set(await copy.redis.hkeys(keys.pending())) == {thread.encode(), ephemeral.encode()}
    listed = await copy.redis.zrange(keys.user_threads(USER), 0, -1)
    assert listed == [thread.encode()]


async def test_a_backup_holds_nothing_that_is_true_only_now(desk: Desk, tmp_path: Path) -> None:
    thread = await desk.thread()
    await desk.send(thread, "m1")
    await desk.claim(thread)
    now = (
        keys.worker("w"), keys.telemetry("p"), keys.session("s"), keys.setup_token(),
        keys.login_attempts("all"), keys.graph_drawing(), keys.sessions(USER), keys.state_lock(),
    )  # fmt: skip
    for name in now:
        await desk.redis.set(name, "x", ex=60)
    await desk.redis.set(f"{keys.docket_name()}:job", "x", ex=60)
    await write_backup(desk.store, tmp_path / "b", key=KEY)
    names = {key.text for key in parts(check(tmp_path / "b", key=KEY))}
    assert names.isdisjoint({*now, keys.doorbell(), keys.lease(thread)})
    assert {name for name in names if not name.startswith("asst:")} == set()
    assert keys.inbox(thread) in names


async def test_conversations_are_of_one_moment_while_others_write(
    desk: Desk, empty: Store, tmp_path: Path
) -> None:
    """Each message is in the inbox or in the transcript of the copy, in none twice, never half."""
    threads = [await desk.thread() for _ in range(40)]
    stop = asyncio.Event()
    sent: dict[str, list[str]] = {thread: [] for thread in threads}

    async def talk(thread: str) -> None:
        while not stop.is_set():
            message = f"{len(sent[thread])}"
            await desk.send(thread, message)
            sent[thread].append(message)
            await desk.finish(await desk.claim(thread, thread), thread)

    async def begin() -> None:
        while not stop.is_set():
            thread = await desk.thread()
            sent[thread] = []
            await desk.send(thread, "0")
            sent[thread].append("0")

    tasks = [asyncio.create_task(talk(thread)) for thread in threads]
    tasks.append(asyncio.create_task(begin()))
    await wait_until(lambda: all(len(messages) > 3 for messages in list(sent.values())[:40]))
    before = {thread: len(messages) for thread, messages in sent.items()}
    await write_backup(desk.store, tmp_path / "b", key=KEY)
    stop.set()
    await asyncio.gather(*tasks)
    await restore(empty, check(tmp_path / "b", key=KEY))
    copy = Desk(empty)
    for thread, count in before.items():
        done = await copy.transcript(thread)
        rows = await copy.redis.xrange(keys.inbox(thread))
        waiting = [fields[b"i"].decode() for _, fields in rows]
        held = done + waiting
        assert held == [str(n) for n in range(len(held))]
        assert len(held) >= count, "a message that was accepted before is not in the backup"
        pending = await copy.redis.hget(keys.pending(), thread)
        assert pending == (waiting[-1].encode() if waiting else None)


async def test_what_has_expired_is_left_out(store: Store, empty: Store, tmp_path: Path) -> None:
    gone = Key(b"asst:caps:gone", "string", 1, [b"x"])
    soon = int(time.time() * 1000) + 60_000
    stays = Key(b"asst:caps:stays", "string", soon, [b"x"])
    state = Key(keys.installation().encode(), "hash", None, [b"format", b"1"])
    restored = await restore(empty, written_by_hand(tmp_path / "b", [gone, stays, state]))
    assert (restored.expired, restored.keys) == (1, 2)
    assert await empty.redis.get("asst:caps:gone") is None
    kept = (await everything(empty))[b"asst:caps:stays"].expires_at
    # Before Redis 7 a server only says how much is left.
    assert kept is not None
    assert abs(kept - soon) <= 1
    assert store


# ---- every type of value

VALUES = st.one_of(st.binary(max_size=40), st.text(max_size=10).map(str.encode))
SCORES = st.floats(allow_nan=False)
IDS = st.lists(
    st.tuples(st.integers(1, 2**60), st.integers(0, 2**60)), min_size=1, max_size=5, unique=True
)
FIELDS = st.lists(VALUES, min_size=2, max_size=2)
COMMANDS = st.one_of(
    st.tuples(st.just("SET"), VALUES.map(lambda value: [value])),
    st.tuples(
        st.just("HSET"),
        st.dictionaries(VALUES, VALUES, min_size=1, max_size=9).map(
            lambda row: [word for pair in row.items() for word in pair]
        ),
    ),
    st.tuples(st.just("RPUSH"), st.lists(VALUES, min_size=1, max_size=9)),
    st.tuples(st.just("SADD"), st.lists(VALUES, min_size=1, max_size=9)),
    st.tuples(
        st.just("ZADD"),
        st.dictionaries(VALUES, SCORES, min_size=1, max_size=9).map(
            lambda row: [word for value, score in row.items() for word in (score, value)]
        ),
    ),
    st.tuples(st.just("XADD"), st.tuples(IDS.map(sorted), st.lists(FIELDS, min_size=5))),
)


async def put(store: Store, name: str, command: str, words: Any) -> None:
    """Run a command; a stream gets its entries one by one and loses the last."""
    if command != "XADD":
        await store.redis.execute_command(command, name, *words)
        return
    ids, fields = words
    for (left, right), row in zip(ids, fields, strict=False):
        await store.redis.execute_command("XADD", name, f"{left}-{right}", *row)
    last = min(len(ids), len(fields)) - 1
    await store.redis.xdel(name, f"{ids[last][0]}-{ids[last][1]}")


@given(values=st.lists(st.tuples(COMMANDS, st.booleans()), max_size=8))
@examples(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_all_kinds_of_values_come_back(
    values: list[tuple[tuple[str, Any], bool]], redis_url: str, tmp_path: Path
) -> None:
    async with open_store(redis_url) as store:
        await store.redis.flushall()
        await store.redis.hset(keys.installation(), "format", "1")
        for number, ((command, words), expires) in enumerate(values):
            name = keys.cloud_spend(f"{number}")
            await put(store, name, command, words)
            if expires:
                await store.redis.expire(name, 1000)
        await store.redis.hset(keys.profile("ü"), "name", "x")
        written = await write_backup(store, tmp_path / "b", key=KEY)
        async with open_untouched_store(f"{redis_url}?db=1", half_restored=True) as empty:
            await restore(empty, check(tmp_path / "b", key=KEY))
            assert await everything(empty) == await everything(store)
            assert (await write_backup(empty, tmp_path / "c", key=KEY)).totals == written.totals


async def test_long_values_are_cut_into_parts(store: Store, empty: Store, tmp_path: Path) -> None:
    pairs = {f"field {n}": f"{n}" * 50 for n in range(30_000)}
    await store.redis.hset(keys.profile(USER), mapping=pairs)
    await store.redis.rpush(keys.cloud_spend("list"), *(b"x" * 100_000 for _ in range(40)))
    written = await write_backup(store, tmp_path / "b", key=KEY)
    assert sum(1 for _ in parts(check(tmp_path / "b", key=KEY))) > written.totals.keys + 15
    await restore(empty, check(tmp_path / "b", key=KEY))
    assert await fingerprint(empty) == await fingerprint(store)


# ---- stores that may not be filled


async def test_a_store_in_use_is_never_overwritten(
    backup_file: Path, desk: Desk, store: Store
) -> None:
    before = await everything(store)
    with pytest.raises(Conflict, match="never overwrites"):
        await restore(store, check(backup_file, key=KEY))
    assert await everything(store) == before
    async with open_store(f"unix://{store.redis.connection_pool.connection_kwargs['path']}"):
        pass  # no mark is left: the store still starts
    assert desk


async def test_a_restore_that_died_before_it_looked_erases_nothing(
    backup_file: Path, store: Store
) -> None:
    await store.redis.hset(keys.installation(), RESTORING_FIELD, "2031-01-03")
    before = await everything(store)
    with pytest.raises(Conflict, match="never overwrites"):
        await restore(store, check(backup_file, key=KEY))
    after = await everything(store)
    assert after.keys() == before.keys()
    assert await store.redis.hget(keys.installation(), RESTORING_FIELD) is None


async def test_a_first_start_is_no_data(backup_file: Path, empty: Store, redis_url: str) -> None:
    async with open_store(f"{redis_url}?db=1") as started:
        await started.redis.set(keys.setup_token(), "x", ex=60)
        await started.redis.set(keys.graph_drawing(), "{}")
        await started.redis.zadd(keys.workers(), {"w": 1})
    assert (await restore(empty, check(backup_file, key=KEY))).threads == 1


async def test_running_processes_are_in_the_way(
    backup_file: Path, empty: Store, redis_url: str
) -> None:
    client = connect(redis_url)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(keys.settings_changed())
        await wait_until(lambda: pubsub.get_message(timeout=0.1))
        with pytest.raises(Conflict, match="stop all of its processes"):
            await restore(empty, check(backup_file, key=KEY))
    await client.aclose()
    assert await empty.redis.hlen(keys.installation()) == 0


async def test_an_interrupted_restore_keeps_everybody_out_until_it_is_repeated(
    backup_file: Path, store: Store, empty: Store, redis_url: str
) -> None:
    marks = {RESTORING_FIELD: "2031-01-03T00:00:00+00:00", EMPTY_FIELD: "1"}
    await empty.redis.hset(keys.installation(), mapping=marks)
    await empty.redis.rpush(keys.transcript("t_half"), "half a conversation")
    url = f"{redis_url}?db=1"
    with pytest.raises(ConfigError, match="run `assistant restore FILE` again"):
        async with open_store(url):
            pass
    with pytest.raises(ConfigError, match="did not finish"):
        async with open_untouched_store(url):
            pass
    await restore(empty, check(backup_file, key=KEY))
    assert await everything(empty) == await everything(store)
    async with open_store(url):
        pass


async def test_a_store_without_room_says_so_and_stays_marked(
    backup_file: Path, store: Store, empty: Store
) -> None:
    await store.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFull, match="out of memory"):
            await restore(empty, check(backup_file, key=KEY))
    finally:
        await store.redis.config_set("maxmemory", 0)
    assert (await restore(empty, check(backup_file, key=KEY))).threads == 1


# ---- secrets


async def test_secrets_stay_sealed_and_missing_keys_are_named(
    store: Store, empty: Store, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    loaded = load({"ASSISTANT_HOME": str(old)})
    planted = "planted-4711-secret"
    live = LiveSettings(loaded, store, open_box(old))
    await live.save("model", {"api_key": SecretStr(planted), "name": "m"})
    await write_backup(store, tmp_path / "b", key=KEY)
    held = [
        bytes(part) for key in parts(check(tmp_path / "b", key=KEY)) for part in flat(key.items)
    ]
    assert planted.encode() not in b"".join(held)
    assert (old / KEY_FILE).read_bytes().strip() not in b"".join(held)
    await restore(empty, check(tmp_path / "b", key=KEY))
    assert await unreadable_secrets(empty, new) == ["model.api_key"]
    assert not (new / KEY_FILE).exists()
    open_box(new)
    assert await unreadable_secrets(empty, new) == ["model.api_key"]
    (new / KEY_FILE).write_bytes((old / KEY_FILE).read_bytes())
    assert await unreadable_secrets(empty, new) == []


def flat(items: list[Any]) -> list[bytes]:
    """All bytes in there."""
    found: list[bytes] = []
    for item in items:
        if isinstance(item, list):
            found += flat(cast("list[Any]", item))
        elif isinstance(item, bytes):
            found.append(item)
    return found


async def test_nothing_is_no_backup(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to back up"):
        await write_backup(store, tmp_path / "b", key=KEY)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_something_else_is_not_overwritten(desk: Desk, tmp_path: Path) -> None:
    await desk.thread()
    (tmp_path / "thesis").write_text("years of work")
    with pytest.raises(Conflict, match="is no backup"):
        await write_backup(desk.store, tmp_path / "thesis", key=KEY)
    assert (tmp_path / "thesis").read_text() == "years of work"
    await write_backup(desk.store, tmp_path / "b", key=KEY)
    first = (tmp_path / "b").read_bytes()
    await desk.thread()
    await write_backup(desk.store, tmp_path / "b", key=KEY)
    assert (tmp_path / "b").read_bytes() != first
