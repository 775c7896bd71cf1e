"""MiniMax M2, and Claude's older form: ``<invoke name="tool">`` within a wrapper."""

from __future__ import annotations

from core.models.wire.dialects.base import Dialect, Opener, first_of, invocations, python_calls

INVOKE = invocations()

MINIMAX = Dialect(
    "minimax",
    "MiniMax M2; OLMo 3 (Python calls within `<function_calls>`)",
    openers=(
        Opener("<minimax:tool_call>", "</minimax:tool_call>", INVOKE),
        Opener("<function_calls>", "</function_calls>", first_of(INVOKE, python_calls)),
    ),
)
