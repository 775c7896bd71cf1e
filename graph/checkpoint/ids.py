"""Ids of checkpoints grow, whatever the clock does.

The newest checkpoint is the one with the greatest id, and LangGraph makes ids of the wall clock. A
worker whose clock is behind the one that wrote before, be it another machine's or its own before it
was set back, would write checkpoints that count as old: the next turn would not know of them, and a
tool that had run would run again.
"""

from __future__ import annotations

from langgraph.checkpoint.base import id as maker


def go_on_after(checkpoint_id: str) -> None:
    """Let every id that this process makes from now on be greater than this one."""
    try:
        made = maker.UUID(checkpoint_id)
    except ValueError:
        return  # nothing that LangGraph made
    if made.version != 6:
        return
    # LangGraph keeps its ids apart by this memory of the last one, and offers no other way in.
    last: int = maker._last_v6_timestamp or 0  # pyright: ignore[reportPrivateUsage]
    maker._last_v6_timestamp = max(last, made.time)  # pyright: ignore[reportPrivateUsage]
