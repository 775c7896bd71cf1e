"""What `assistant doctor` sees in Redis: the server itself, our state in it, workers, set-up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from api.commands.doctor import local as local
from api.commands.doctor.finding import Finding, fail, ok, warn
from api.commands.doctor.look import Look
from api.condition import WORKER_SILENT_MS
from core.accounts.credentials import read_fields
from core.accounts.passwords import is_set_up
from core.errors import StoreUnavailable
from core.settings.groups import Settings
from core.store import keys
from core.store.errors import translate
from core.store.opening import OLDEST, RESTORING_FIELD, STATE_FORMAT, is_cluster
from core.store.redis import RedisClient

NEARLY_FULL = 0.9


async def look_at_store(look: Look) -> Sequence[Finding]:
    """The server, or why it does not answer, and the settings that are saved in it."""
    if look.redis is None:
        return _not_running(look)
    try:
        findings = await store_findings(look.redis, look.loaded.settings)
    except (RedisError, OSError) as error:
        return [_store_error(error, look.loaded.settings)]
    if look.unread:
        findings.append(fail("settings", look.unread, "do what the message says"))
    return findings


def _store_error(error: Exception, settings: Settings) -> Finding:
    known = translate(error)
    detail = f"Redis does not answer ({error})"
    if not isinstance(known, StoreUnavailable):
        detail = known.detail
    fix = "check that it runs and that REDIS_URL is right"
    if not settings.store.redis_url:
        fix = f"restart the assistant; see {settings.home / 'run' / 'redis.log'}"
    return fail("store", detail, fix)


def _not_running(look: Look) -> list[Finding]:
    """The embedded server does not answer: broken, or simply not started."""
    if look.running:
        log = look.home / "run" / "redis.log"
        detail = "the assistant runs, but its embedded server does not answer"
        return [fail("store", detail, f"look into {log}, then restart the assistant")]
    detail = f"no assistant runs on {look.home}"
    start = warn("running", detail, "start everything with `assistant up`")
    return [local.embedded_binary(), start]


async def store_findings(redis: RedisClient, settings: Settings) -> list[Finding]:
    """Everything about the server and the state in it. Raises RedisError."""
    start = time.perf_counter()
    await redis.ping()
    milliseconds = (time.perf_counter() - start) * 1000
    info = await redis.info()
    server = _server(info, milliseconds)
    if server.status == "fail":
        return [server]  # it may refuse every other command
    return [
        server,
        *_writable(info),
        await _durable(redis, info, settings),
        *_memory(info),
        await _state(redis, settings),
        *await _workers(redis),
        await _set_up(redis),
    ]


def _server(info: Mapping[str, Any], milliseconds: float) -> Finding:
    text = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    valkey = info.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {text}"
    if numbers < OLDEST:
        return fail("store", f"{name} is too old", "use Redis 6.2 or newer, or any Valkey")
    if is_cluster(info):
        fix = "point REDIS_URL to a single or Sentinel-managed server"
        return fail("store", f"{name} runs as a cluster", fix)
    return ok("store", f"{name} answers in {milliseconds:.1f} ms")


def _writable(info: Mapping[str, Any]) -> list[Finding]:
    if info.get("role") == "slave":
        fix = "point REDIS_URL to the primary"
        return [fail("store", "the server is a read-only replica", fix)]
    broken = [
        name
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
        if info.get(name, "ok") != "ok"
    ]
    if not broken:
        return []
    fix = "free space on its disk and look into its log; it recovers by itself"
    return [fail("store", f"the server cannot write to its disk ({', '.join(broken)})", fix)]


async def _durable(redis: RedisClient, info: Mapping[str, Any], settings: Settings) -> Finding:
    """How much a crash of the server may lose."""
    if not info.get("aof_enabled"):
        return warn(
            "durability",
            "the server keeps no append-only file: a crash loses the newest messages",
            "run: redis-cli config set appendonly yes (and write it into its configuration)",
        )
    used = await _fsync(redis)
    wanted = settings.store.fsync
    if used and used != wanted and not settings.store.redis_url:
        detail = f"the server flushes {used}, the setting store.fsync is {wanted}"
        return warn("durability", detail, "restart the assistant")
    if used == "no":
        fix = "run: redis-cli config set appendfsync everysec"
        return warn("durability", "the server leaves flushing to the operating system", fix)
    return ok("durability", f"append-only file, flushed {used or 'as the server decides'}")


async def _fsync(redis: RedisClient) -> str:
    """appendfsync of the server, "" where it does not tell (managed services)."""
    try:
        answer = await redis.config_get("appendfsync")
    except ResponseError:
        return ""
    return answer.get("appendfsync", "")


def _memory(info: Mapping[str, Any]) -> list[Finding]:
    limit, used = int(info.get("maxmemory") or 0), int(info.get("used_memory") or 0)
    if not limit:
        return []
    policy = str(info.get("maxmemory_policy"))
    if policy != "noeviction":
        detail = f"with maxmemory-policy {policy} the server may throw conversations away"
        return [fail("memory", detail, "run: redis-cli config set maxmemory-policy noeviction")]
    detail = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MiB used"
    if used > limit * NEARLY_FULL:
        return [warn("memory", detail, "give the server more memory (store.max_memory_mb)")]
    return [ok("memory", detail)]


async def _state(redis: RedisClient, settings: Settings) -> Finding:
    """Whether this version can read what is stored."""
    about = await read_fields(redis, keys.installation())
    form, saver = int(about.get("format", "0")), about.get("checkpointer", "")
    if since := about.get(RESTORING_FIELD):
        detail = f"a restore that began at {since} did not finish"
        return fail("state", detail, "run `assistant restore FILE` again")
    if form > STATE_FORMAT:
        detail = f"the state has format {form}, this version knows {STATE_FORMAT}"
        return fail("state", detail, "install the newer version again")
    chosen = settings.store.checkpointer
    if saver and saver != chosen:
        detail = f"conversations were saved with checkpointer {saver}, not {chosen}"
        return fail("state", detail, f"set store.checkpointer to {saver}")
    return ok("state", f"format {form}, checkpointer {saver}" if form else "nothing is stored yet")


async def _workers(redis: RedisClient) -> list[Finding]:
    """Who works, and what waits."""
    oldest = int(time.time() * 1000) - WORKER_SILENT_MS
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zcount(keys.workers(), oldest, "+inf")
        pipe.hlen(keys.pending())
        pipe.xlen(keys.dead_letters())
        alive, pending, dead = await pipe.execute()
    findings: list[Finding] = []
    if alive:
        findings.append(ok("worker", f"{alive} running, {pending} conversations with work"))
    else:
        fix = "start everything with `assistant up`, or a worker with `assistant worker`"
        status = fail if pending else warn
        findings.append(status("worker", f"none runs, {pending} conversations wait", fix))
    if dead:
        fix = "look into the worker's log for the reason, then send them again"
        findings.append(warn("messages", f"{dead} messages were given up", fix))
    return findings


async def _set_up(redis: RedisClient) -> Finding:
    if await is_set_up(redis):
        return ok("set-up", "a password is set")
    fix = "open the link that `assistant up` prints, or run `assistant password reset`"
    return warn("set-up", "no password is set yet", fix)
