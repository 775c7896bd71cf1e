"""What must hold after a campaign: read from the journal, the transcript, the effects and Redis."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import orjson

from core.store import keys
from graph.checkpoint.saver import RedisSaver
from nodes.tool_agent import UNKNOWN
from tests.chaos.traffic import Conversation, Sent
from tests.chaos.world import EFFECTS_FILE, World
from tests.support.stack import USER, Shown, events

LEFT_OF_WORK = (
    keys.lease,
    keys.inbox,
    keys.calls,
    keys.doorbell,
    keys.pending,
    keys.deleted,
    keys.dead_letters,
)
"""Keys that may not be there once all is quiet."""


async def violations(world: World, conversations: list[Conversation]) -> list[str]:
    """Everything that is not as promised; empty is good."""
    found: list[str] = []
    effects = effects_of(world)
    for conversation in conversations:
        found += conversation.wrong
        found += await _conversation(world, conversation, effects)
    labels = {s.label for c in conversations for s in c.sent}
    for thread in sorted({w.partition(" ")[0].rstrip(":") for w in found if w.startswith("t_")})[
        :3
    ]:
        found += await evidence(world, thread)
    found += [f"effect of nobody's message: {label}" for label in effects if label not in labels]
    found += await stored(world)
    found += logged(world)
    return found


def effects_of(world: World) -> Counter[str]:
    """How often each line was appended."""
    path = world.home / EFFECTS_FILE
    lines = path.read_bytes().splitlines() if path.exists() else []
    return Counter(str(orjson.loads(line)["label"]) for line in lines)


# ---- one conversation


async def _conversation(
    world: World, conversation: Conversation, effects: Counter[str]
) -> list[str]:
    thread = conversation.thread_id
    calm, ended = await _calm(world, thread)
    async with world.client(timeout=30) as client:
        response = await client.get(f"/api/threads/{thread}", params={"limit": 500})
    detail = response.json()
    found: list[str] = []
    runs = [s.run_id for s in conversation.sent]
    if ended != runs:
        found.append(f"{thread}: runs ended {_apart(ended, runs)}")
    users = [m["id"] for m in detail["messages"] if m["role"] == "user"]
    asked = [s.message_id for s in conversation.sent]
    if users != asked:
        found.append(f"{thread}: the transcript has {_apart(users, asked)}")
    answers = [m for m in detail["messages"] if m["role"] == "assistant"]
    if [m["run_id"] for m in answers] != runs:
        found.append(f"{thread}: answers {_apart([m['run_id'] for m in answers], runs)}")
    if detail["running_run_id"] is not None:
        found.append(f"{thread}: {detail['running_run_id']} still runs")
    by_run = {m["run_id"]: m for m in answers}
    for sent in conversation.sent:
        if sent.run_id in by_run and sent.run_id in calm:
            flaky = conversation.shown.get(sent.run_id, Shown())
            about = f"{thread} {sent.label}"
            found += [
                f"{about}: {w}" for w in texts(sent, flaky, calm[sent.run_id], by_run[sent.run_id])
            ]
            touched = world.model.touched.get(sent.label, [])
            found += [f"{about}: {w}" for w in outcome(sent, by_run[sent.run_id], touched)]
            found += [f"{about}: {w}" for w in effect(sent, by_run[sent.run_id], effects)]
    return found


async def _calm(world: World, thread: str) -> tuple[dict[str, Shown], list[str]]:
    """What a reader sees who comes afterwards, and the runs in the order of their ends."""
    calm: dict[str, Shown] = {}
    ended: list[str] = []
    async with world.client(timeout=30) as client:
        async for event in events(client, f"/api/threads/{thread}/events"):
            if event.id:
                calm.setdefault(event.data["run_id"], Shown()).take(event)
            if event.type == "turn_finished":
                ended.append(event.data["run_id"])
    return calm, ended


def _apart(got: list[str], wanted: list[str]) -> str:
    lost = [w for w in wanted if w not in got]
    twice = [g for g, count in Counter(got).items() if count > 1]
    extra = [g for g in got if g not in wanted]
    if lost or twice or extra:
        return f"lost {lost}, twice {twice}, unknown {extra}"
    return f"out of order: {got} instead of {wanted}"


def texts(sent: Sent, flaky: Shown, calm: Shown, answer: dict[str, Any]) -> list[str]:
    """Everybody sees the same."""
    found: list[str] = []
    if flaky.status != calm.status or calm.status != answer["status"]:
        found.append(f"status {flaky.status} / {calm.status} / {answer['status']}")
    if not flaky.text == calm.text == answer["text"]:
        found.append(f"text {flaky.text!r} / {calm.text!r} / {answer['text']!r}")
    if calm.status == "completed" and calm.completed != answer["text"]:
        found.append(f"completed as {calm.completed!r}, kept {answer['text']!r}")
    if calm.types.count("turn_finished") != 1 or calm.types[-1] != "turn_finished":
        found.append(f"ended wrongly: {calm.types[-3:]}")
    return found


def outcome(sent: Sent, answer: dict[str, Any], touched: list[str]) -> list[str]:
    """Only the model's own bad days are a reason for anything but the right answer."""
    if touched and touched != ["slow"]:
        return []
    if answer["status"] != "completed":
        return [f"{answer['status']}: {answer.get('error')}"]
    statuses = {tool["status"] for tool in answer["tools"]}
    good = {sent.expected, UNKNOWN} if "unknown" in statuses else {sent.expected}
    return [] if answer["text"] in good else [f"answered {answer['text']!r}, not {sent.expected!r}"]


def effect(sent: Sent, answer: dict[str, Any], effects: Counter[str]) -> list[str]:
    """Once, or not at all; and the user is told the truth about it."""
    count = effects[sent.label]
    said = [t["status"] for t in answer["tools"] if t["name"] == "append_line"]
    if count > 1:
        return [f"its effect happened {count} times, said: {said}"]
    if "ok" in said and count == 0:
        return ["an effect was reported that did not happen"]
    if count == 1 and not {"ok", "unknown"} & set(said):
        return [f"an effect happened and was reported as {said}"]
    return []


# ---- Redis and the logs


async def stored(world: World) -> list[str]:
    """Keys that nobody declared or that live too long, and what is left of work."""
    found: list[str] = []
    listed = {row.decode() for row in await world.redis.zrange(keys.user_threads(USER), 0, -1)}
    async for raw in world.redis.scan_iter(count=1000):
        key = raw.decode()
        if re.match(rf"\{{?{keys.docket_name()}\b", key):
            continue
        kind = keys.KINDS.kind_of(key)
        if kind is None or kind.name in LEFT_OF_WORK:
            found.append(f"orphan: {key} {await _content(world, key)}")
            continue
        found += await _life(world, key, kind.ttl)
        apart = keys.thread_and_part(key)
        if apart is not None and apart[0] not in listed:
            found.append(f"key of a thread that is in no list: {key}")
        if kind.name is keys.control:
            found += await _control(world, key)
    return found


async def _life(world: World, key: str, limit: int) -> list[str]:
    """``limit``: the longest time to live in seconds; 0: the key must have none."""
    ttl = int(await world.redis.ttl(key))
    # A time of expiry that was set by a clock that has gone back since is that much farther away.
    right = 0 <= ttl <= limit + world.clocks.lead if limit else ttl == -1
    return [] if right or ttl == -2 else [f"life time of {key} is {ttl}, allowed: {limit}"]


async def _content(world: World, key: str) -> str:
    kind = (await world.redis.type(key)).decode()
    return kind if kind != "hash" else str(await world.redis.hgetall(key))[:300]


async def _control(world: World, key: str) -> list[str]:
    fields = [name.decode() for name in await world.redis.hkeys(key)]
    left = [name for name in fields if name in ("run", "tok") or name.startswith(("at:", "no:"))]
    return [f"left in {key}: {left}"] if left else []


def logged(world: World) -> list[str]:
    """Tracebacks in the logs of our processes."""
    found: list[str] = []
    for child in (world.web, *world.workers):
        text = child.log.read_text(encoding="utf-8", errors="replace")
        for part in text.split("Traceback (most recent call last)")[1:]:
            found.append(f"{child.name} logged a traceback:{part[:1500]}")
    return found


async def evidence(world: World, thread: str) -> list[str]:
    """Journal and checkpoints of a thread in which something is wrong."""
    lines = [f"journal of {thread}:"]
    for entry, fields in await world.redis.xrange(keys.journal(thread)):
        run, kind, body = (fields[name].decode() for name in (b"r", b"t", b"d"))
        lines.append(f"  {entry.decode()} {run[-6:]} {kind} {body[:60]}")
    saver = RedisSaver(world.redis)
    async for found in saver.alist({"configurable": {"thread_id": thread}}):
        metadata, config = found.metadata, found.config.get("configurable", {})
        writes = [(task[:6], channel) for task, channel, _ in found.pending_writes or ()]
        lines.append(
            f"  checkpoint {config.get('checkpoint_id')} {metadata.get('source')} "
            f"{metadata.get('step')} {sorted(found.checkpoint['channel_values'])} writes {writes}"
        )
    return ["\n".join(lines)]
