"""A tool agent: runs one call of the model and reports its real outcome to user and model."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime
from pydantic import ValidationError

from core.engine.kept import KeptResults, is_kept, pointer, result_id
from core.engine.ledger import Ledger
from core.errors import AssistantError, Fenced, StoreError, StoreUnavailable
from core.events import ToolStarted, ToolStatus, scrub
from core.models.estimate import head, text_tokens
from nodes.request.results import finished, result, shortened
from nodes.state import CORRECTION, KEPT, UNTRUSTED, Context, ToolTask
from tools.base import Caller, Tool
from tools.shares import KEPT_SHARE, SHOWN_SHARE

log = logging.getLogger(__name__)

MAX_RESULT = 20_000
"""Characters of a result that the model sees, however large its context: about 5,000 tokens."""

SHORT = 1000
"""Characters of a result that fits everywhere: nobody looks at the context for it."""

WRONG_ARGUMENTS = "wrong arguments"
"""Begins the result of a call that the tool could not take, and that did nothing."""

UNKNOWN = (
    "Outcome unknown: the assistant stopped while this ran. It was not run again. "
    "Check whether it took effect before you repeat it, and tell the user."
)


async def tool_agent(state: ToolTask, runtime: Runtime[Context]) -> dict[str, Any]:
    """Run the call. Whatever goes wrong becomes a result; only a stop of the turn passes
    through."""
    call, turn, emit = state["call"], runtime.context.turn, runtime.context.emit
    emit(ToolStarted(call["id"], call["name"], call["args"]))
    tool = runtime.context.tools.by_name.get(call["name"])
    if tool is None:
        # The guard let it pass in an earlier attempt of the turn; since then the tool went away.
        message = result(call, "refused", runtime.context.tools.refusal(call["name"]))
    else:
        caller = Caller(turn.inbound.user_id, turn.thread_id, turn.run_id)
        status, text = await once(runtime.context, tool, call, caller)
        marks = {
            KEPT: is_kept(text, result_id(caller.run_id, call["id"])),
            UNTRUSTED: tool.traits.untrusted,
            CORRECTION: status == "error" and text.startswith(WRONG_ARGUMENTS),
        }
        message = result(call, status, text, **{mark: True for mark, held in marks.items() if held})
    emit(finished(message))
    return {"messages": [message]}


async def once(
    context: Context, tool: Tool, call: dict[str, Any], caller: Caller
) -> tuple[ToolStatus, str]:
    """Outcome and shown result of a call. One that changes something is run at most once, over
    crashes and resumed turns."""
    seconds = tool.traits.timeout or context.services.settings.current.orchestrator.tool_timeout
    if tool.traits.effect == "read":
        status, text = await run_call(tool, call["args"], caller, seconds)
        return status, await presented(context, tool, caller, call["id"], text)
    ledger, turn = Ledger(context.services.store), context.turn
    known = await ledger.begin(turn, call["id"])
    if known is not None and known.status is not None:
        return known.status, known.text
    if known is not None and not tool.traits.repeatable:
        return "unknown", UNKNOWN
    status, text = await run_call(tool, call["args"], caller, seconds)
    text = await presented(context, tool, caller, call["id"], text)
    try:
        await ledger.finish(turn, call["id"], status, text)
    except StoreError as error:
        log.warning("run %s: result of %s not noted: %s", caller.run_id, call["name"], error)
    return status, text


async def presented(context: Context, tool: Tool, caller: Caller, call_id: str, text: str) -> str:
    """The result as the model sees it: whole, or its beginning and how to read on."""
    if len(text) <= SHORT or tool.traits.reads_kept:
        return shortened(text, 2 * MAX_RESULT)
    services = context.services
    window = await services.gateway.context_window(services.settings.current)
    shown = head(text[:MAX_RESULT], window // SHOWN_SHARE)
    if len(shown) == len(text) and text_tokens(text) <= window // KEPT_SHARE:
        return text
    name = result_id(caller.run_id, call_id)
    try:
        kept = await KeptResults(services.store).keep(context.turn, name, text)
    except (StoreError, Fenced) as error:
        log.warning("run %s: result of %s not kept: %s", caller.run_id, tool.name, error)
        return shortened(text, len(shown))
    return shown + pointer(name, shown=len(shown), kept=kept, total=len(text))


async def run_call(
    tool: Tool, arguments: dict[str, Any], caller: Caller, seconds: float
) -> tuple[ToolStatus, str]:
    """Outcome and result of one call, within its time."""
    name = tool.name
    try:
        async with asyncio.timeout(seconds):
            returned = await tool.base.ainvoke({**arguments, "caller": caller})
    except StoreUnavailable:
        raise  # the turn goes on from here when Redis is back
    except GraphBubbleUp:
        raise  # the turn waits here for a decision
    except AssistantError as error:
        return "error", str(error)
    except ValidationError as error:
        return "error", _explain(name, error)
    except TimeoutError:
        return "error", f"{name} took longer than {seconds:g} seconds and was stopped"
    except Exception:  # a tool may fail in any way; the turn goes on, the traceback is in the log
        log.exception("tool %s failed in run %s", name, caller.run_id)
        return "error", f"{name} failed with an internal error; the log has the details"
    return "ok", scrub(str(returned))


def _explain(name: str, error: ValidationError) -> str:
    """Wrong arguments, in words that let the model correct them."""
    wrong = "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)
    )
    return f"{WRONG_ARGUMENTS} for {name}: {wrong}"
