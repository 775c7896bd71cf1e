"""Checkpoints of the graph on core Redis commands (Redis 6.2 or newer, Valkey), one script a call.

Every key of a thread carries its hash tag, so each script touches one slot. The layout is described
in ``lua/_prelude.lua`` and docs/checkpoints.md. Every call is safe to repeat and is repeated while
Redis does not answer, within the deadline of ``core.store.client``.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.engine.turn_journal import OUTAGE_LIMIT
from core.errors import AssistantError
from core.store import keys
from core.store.calling import Call
from core.store.client import DEADLINE, Store
from core.store.errors import translate
from core.store.reads import Read
from core.store.redis import RedisClient
from graph.checkpoint import calls
from graph.checkpoint.base import AsyncOnlySaver
from graph.checkpoint.codec import UNREADABLE, pack_record, pack_writes, read_writes
from graph.checkpoint.ids import go_on_after
from graph.checkpoint.read import Ancestor, Row, open_row, read_history
from graph.checkpoint.scripts import read_scripts

PAGE = 20
"""Checkpoints that one round trip of a listing fetches."""

SPANS_KEPT = 64
"""Histories kept from ``aget_tuple`` until they are asked for: one for each turn that starts."""

OFFLINE = (RedisConnectionError, RedisTimeoutError, OSError)

Place: TypeAlias = "tuple[str, str, str]"
"""Thread, namespace and checkpoint id."""


class CheckpointUnreadable(AssistantError):
    """A stored checkpoint cannot be read; ``RedisSaver.quarantine`` lets the conversation go on."""

    code = "checkpoint_unreadable"


RUNNING = ("branch:", "__")
"""What channels begin with that make something run, or stand for an error or an interrupt."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write: a call of ``put`` or ``put_writes``.

    ``begins`` is the id of a checkpoint that holds nothing but a turn's input, ``follows`` that of
    the checkpoint that the write belongs to or comes after. ``ends``: a task's writes that make
    nothing run.
    """

    call: Call
    begins: str = ""
    follows: str = ""
    ends: bool = False


class RedisSaver(AsyncOnlySaver):
    """LangGraph's saver. ``fenced`` and ``with_ttl`` give cheap copies for one turn."""

    def __init__(
        self, redis: RedisClient, *, ttl: int | None = None, serde: JsonPlusSerializer | None = None
    ) -> None:
        # None allows only the types that LangGraph lists as safe, whatever the environment says.
        super().__init__(serde=serde or JsonPlusSerializer(allowed_msgpack_modules=None))
        self._store = Store(redis, read_scripts())
        self._ttl = "" if ttl is None else str(ttl)
        self._epoch = ""
        self._in_flight: dict[Place, set[asyncio.Future[None]]] = {}
        self._spans: OrderedDict[Place, tuple[tuple[str, ...], list[Ancestor]]] = OrderedDict()

    def fenced(self, epoch: int) -> RedisSaver:
        """A copy whose writes raise Fenced once the thread is in another epoch."""
        bound = copy.copy(self)
        bound._epoch = str(epoch)
        return bound

    def with_ttl(self, seconds: int | None) -> RedisSaver:
        """A copy for threads that expire as a whole ``seconds`` after their last write."""
        bound = copy.copy(self)
        bound._ttl = "" if seconds is None else str(seconds)
        return bound

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Eight hexadecimal digits that count, eight that keep the branches of a fork apart."""
        count = 1 if current is None else int(current[:8], 16) + 1
        return f"{count:08x}{secrets.token_hex(4)}"

    # ---- read

    def newest(self, thread_id: str, _user_id: str) -> Read[Any]:
        """The read of a thread's newest checkpoint, for the round trip of something else."""
        return self._as_read(calls.get(thread_id, "", ""))

    def _as_read(self, call: Call) -> Read[Any]:
        """The call as one that travels with others; its reply is decoded where it is used."""
        return Read(self._store.call(call), lambda reply: reply)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint of the config, or the newest. Raises CheckpointUnreadable, StoreError."""
        thread_id, ns, checkpoint_id = place_of(config)
        row = await self._run(calls.get(thread_id, ns, checkpoint_id))
        if not row:
            return None
        go_on_after(row[0].decode())
        return self._tuple(thread_id, ns, row)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first within each namespace; of all threads if there is no config."""
        left = limit
        before_id = (get_checkpoint_id(before) if before else None) or ""
        async for thread_id, ns in self._spaces(config):
            async for found in self._namespace(thread_id, ns, config, before_id):
                if left is not None and left <= 0:
                    return
                if filter and not matches(found.metadata, filter):
                    continue
                yield found
                left = None if left is None else left - 1

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Writes and last stored value of each channel along the ancestors.

        Asked right after ``aget_tuple``, it takes no round trip: that call brought the span along.
        """
        if not channels:
            return {}
        place = place_of(config)
        kept = self._spans.pop(place, None)
        if kept is not None and set(channels) <= set(kept[0]):
            span = kept[1]
        else:
            span = await self._run(calls.history(*place, channels))
        try:
            return read_history(self.serde, span, channels)
        except UNREADABLE as error:
            raise unreadable(error) from error

    # ---- write

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint. Raises Fenced, StoreError."""
        thread_id, ns, parent = place_of(config)
        # LangGraph orders only a delta channel's writes before the checkpoint that contains them.
        if waiting := self._in_flight.get((thread_id, ns, parent)):
            await asyncio.wait(tuple(waiting))
        record = pack_record(
            self.serde,
            checkpoint,
            get_checkpoint_metadata(config, metadata),
            parent=parent,
            new_versions=new_versions,
        )
        write = Write(
            calls.put(thread_id, ns, checkpoint["id"], record, epoch=self._epoch, ttl=self._ttl),
            begins=checkpoint["id"] if metadata.get("source") == "input" else "",
            follows=parent,
        )
        await self._write(write)
        return config_of(thread_id, ns, checkpoint["id"])

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store a task's writes beside a checkpoint. Raises Fenced, StoreError."""
        place = place_of(config)
        batch = pack_writes(self.serde, writes, task_id, task_path)
        flight = asyncio.get_running_loop().create_future()
        self._in_flight.setdefault(place, set()).add(flight)
        try:
            write = Write(
                calls.put_writes(*place, batch, epoch=self._epoch, ttl=self._ttl),
                follows=place[2],
                ends=not any(channel.startswith(RUNNING) for channel, _ in writes),
            )
            await self._write(write)
        finally:
            flight.set_result(None)
            self._in_flight[place].discard(flight)
            if not self._in_flight[place]:
                del self._in_flight[place]

    # ---- keep and delete

    async def keep_last(self, thread_id: str, count: int) -> int:
        """Keep the newest ``count`` checkpoints of each namespace and what their state needs.

        Namespaces of tasks that belong to dropped checkpoints go too. Returns how many it dropped.
        """
        call = calls.keep(thread_id, count, tasks_too=True, epoch=self._epoch)
        return int(await self._run(call))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep the newest checkpoint of each namespace and what it needs, or ``"delete"`` all."""
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f'strategy is "keep_latest" or "delete", not {strategy!r}')
        for thread_id in thread_ids:
            if strategy == "delete":
                await self.adelete_thread(thread_id)
            else:
                await self._run(calls.keep(thread_id, 1, tasks_too=False, epoch=self._epoch))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints, also those in quarantine."""
        await self._run(calls.delete(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints whose metadata name one of the runs.

        There is no index of runs: nothing of ours asks for this, and it would cost a write a step.
        """
        if not run_ids:
            return
        dead: dict[tuple[str, str], list[str]] = {}
        async for found in self.alist(None):
            if found.metadata.get("run_id") in run_ids:
                thread_id, ns, checkpoint_id = place_of(found.config)
                dead.setdefault((thread_id, ns), []).append(checkpoint_id)
        for (thread_id, ns), ids in dead.items():
            await self._run(calls.drop(thread_id, ns, ids, epoch=self._epoch))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Replace the target's checkpoints by a copy of the source's."""
        dumps = await self._run(calls.dump(source_thread_id))
        if dumps:
            await self._run(
                calls.restore(target_thread_id, dumps, epoch=self._epoch, ttl=self._ttl)
            )

    async def quarantine(self, thread_id: str) -> bool:
        """Set a thread's checkpoints aside for 30 days; it goes on from an empty state."""
        return bool(await self._run(calls.quarantine(thread_id, epoch=self._epoch)))

    # ---- inside

    async def _write(self, write: Write) -> None:
        """Store a checkpoint or a task's writes; a turn's saver may hold them back."""
        await self._run(write.call)

    async def _run(self, call: Call) -> Any:
        try:
            return await self._store.script_once(call)
        except OFFLINE:
            # A turn outlives an outage: what the model has said is not asked for again.
            patience = OUTAGE_LIMIT if self._epoch else DEADLINE
            return await self._store.script(call, deadline=patience)
        except RedisError as error:
            raise self._translated(error) from error

    @staticmethod
    def _translated(error: RedisError) -> AssistantError:
        return unreadable(error) if "UNREADABLE" in str(error) else translate(error)

    def _tuple(
        self, thread_id: str, ns: str, row: Row, *, keep_span: bool = True
    ) -> CheckpointTuple:
        try:
            opened = open_row(self.serde, row)
            writes = read_writes(self.serde, row[3])
        except UNREADABLE as error:
            raise unreadable(error) from error
        checkpoint = opened.checkpoint
        if keep_span and opened.delta_channels:
            place = (thread_id, ns, checkpoint["id"])
            self._spans[place] = (opened.delta_channels, row[4])
            if len(self._spans) > SPANS_KEPT:
                self._spans.popitem(last=False)
        return CheckpointTuple(
            config_of(thread_id, ns, checkpoint["id"]),
            checkpoint,
            opened.metadata,
            config_of(thread_id, ns, opened.parent) if opened.parent else None,
            writes,
        )

    async def _spaces(self, config: RunnableConfig | None) -> AsyncIterator[tuple[str, str]]:
        wanted = config.get("configurable", {}).get("checkpoint_ns") if config else None
        async for thread_id in self._threads(config):
            if wanted is not None:
                yield thread_id, wanted
                continue
            found = await self._members(keys.checkpoint(thread_id, "n"))
            for ns in sorted(name.decode() for name in found):
                yield thread_id, ns

    async def _members(self, name: str) -> set[bytes]:
        redis = self._store.redis
        return await self._store.retry(lambda: redis.smembers(name))

    async def _threads(self, config: RunnableConfig | None) -> AsyncIterator[str]:
        if config:
            yield place_of(config)[0]
            return
        before, after = keys.checkpoint("*", "n").split("*")
        names = self._store.redis.scan_iter(match=f"{before}*{after}", count=1000)
        async for name in names:
            yield name.decode()[len(before) : -len(after)]

    async def _namespace(
        self, thread_id: str, ns: str, config: RunnableConfig | None, before_id: str
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints older than ``before_id``; only the config's own, if it names one."""
        only = get_checkpoint_id(config) if config else None
        if only:
            found = await self.aget_tuple(config_of(thread_id, ns, only))
            if found and (not before_id or only < before_id):
                yield found
            return
        upper = f"({before_id}" if before_id else "+"
        while rows := await self._run(calls.page(thread_id, ns, upper, PAGE)):
            for row in rows:
                yield self._tuple(thread_id, ns, row, keep_span=False)
            upper = "(" + rows[-1][0].decode()


def place_of(config: RunnableConfig) -> Place:
    """Thread, namespace and checkpoint id of a config; the latter may be empty."""
    about = config.get("configurable", {})
    ns, checkpoint_id = about.get("checkpoint_ns"), about.get("checkpoint_id")
    return str(about["thread_id"]), ns or "", checkpoint_id or ""


def config_of(thread_id: str, ns: str, checkpoint_id: str) -> RunnableConfig:
    """The config that names one checkpoint."""
    about = {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}
    return {"configurable": about}


def matches(metadata: CheckpointMetadata, wanted: Mapping[str, Any]) -> bool:
    """Whether the metadata has all wanted values."""
    return all(metadata.get(name) == value for name, value in wanted.items())


def unreadable(error: Exception) -> CheckpointUnreadable:
    """The error for a thread whose checkpoint is damaged."""
    return CheckpointUnreadable(
        f"the saved state of this conversation cannot be read ({type(error).__name__}); it is set "
        "aside for 30 days and the conversation goes on from an empty state"
    )
