"""Background jobs that need the graph's own storage."""

from __future__ import annotations

from collections.abc import Sequence

from core.jobs import ERASE_THREAD, Job
from core.services import Services
from graph.checkpoint_select import Saver


def job_functions(services: Services, saver: Saver) -> Sequence[Job]:
    """All jobs, bound to this process's services."""

    async def erase_thread(thread_id: str) -> None:
        await saver.adelete_thread(thread_id)
        await services.threads.erase_rest(thread_id)

    erase_thread.__name__ = ERASE_THREAD
    return (erase_thread,)
