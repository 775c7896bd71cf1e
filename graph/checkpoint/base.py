"""The blocking half of the saver's interface, which it does not offer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)


def refuse(method: str) -> NoReturn:
    """Say which method to call instead."""
    raise NotImplementedError(
        f"RedisSaver has no blocking {method}(); use the async API: await saver.a{method}(…), "
        "graph.ainvoke(…), graph.astream(…), graph.aget_state(…)"
    )


class AsyncOnlySaver(BaseCheckpointSaver[str]):
    """A saver whose blocking methods say that there are none."""

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        refuse("get_tuple")

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        refuse("list")

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        refuse("put")

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        refuse("put_writes")

    def delete_thread(self, thread_id: str) -> None:
        refuse("delete_thread")

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        refuse("delete_for_runs")

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        refuse("copy_thread")

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        refuse("prune")
