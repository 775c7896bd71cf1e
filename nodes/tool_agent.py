"""A tool agent: runs one call of the model and reports its real outcome to user and model."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.runtime import Runtime
from pydantic import ValidationError

from core.errors import AssistantError, StoreError, StoreUnavailable
from core.events import ToolFinished, ToolStarted, ToolStatus, scrub
from core.ledger import CURRENT_TURN, Ledger
from nodes.state import OUTCOME, Context, ToolTask
from tools.base import Caller, Skill

log = logging.getLogger(__name__)

MAX_RESULT = 20_000
"""Characters of a result that the model sees: about 5,000 tokens."""

MAX_SUMMARY = 400

UNKNOWN = (
    "Outcome unknown: the assistant stopped while this ran. It was not run again. "
    "Check whether it took effect before you repeat it, and tell the user."
)


async def tool_agent(state: ToolTask, runtime: Runtime[Context]) -> dict[str, Any]:
    """Run the call. Whatever goes wrong becomes a result; only a stop of the turn passes
    through."""
    call, turn = state["call"], state["turn"]
    emit = runtime.stream_writer
    emit(ToolStarted(call["id"], call["name"], call["args"]))
    caller = Caller(turn["user_id"], turn["run_id"].rpartition(".")[0], turn["run_id"])
    status, text = await once(runtime.context, call, caller)
    emit(ToolFinished(call["id"], status, shortened(text, MAX_SUMMARY)))
    message = ToolMessage(
        shortened(text, MAX_RESULT),
        tool_call_id=call["id"],
        name=call["name"],
        status="success" if status == "ok" else "error",
        id=f"{call['id']}-r",
        additional_kwargs={} if status in ("ok", "error") else {OUTCOME: status},
    )
    return {"messages": [message]}


async def once(context: Context, call: dict[str, Any], caller: Caller) -> tuple[ToolStatus, str]:
    """Run a call that changes something at most once, over crashes and resumed turns."""
    skill = context.toolbox.skills[call["name"]]
    seconds = context.services.settings.current.orchestrator.tool_timeout
    if skill.effect == "read":
        return await run_call(skill, call["args"], caller, seconds)
    ledger, turn = Ledger(context.services.store), CURRENT_TURN.get()
    known = await ledger.begin(turn, call["id"])
    if known is not None and known.status is not None:
        return known.status, known.text
    if known is not None and not skill.repeatable:
        return "unknown", UNKNOWN
    status, text = await run_call(skill, call["args"], caller, seconds)
    try:
        await ledger.finish(turn, call["id"], status, shortened(text, MAX_RESULT))
    except StoreError as error:
        log.warning("run %s: result of %s not noted: %s", caller.run_id, call["name"], error)
    return status, text


async def run_call(
    skill: Skill, arguments: dict[str, Any], caller: Caller, seconds: float
) -> tuple[ToolStatus, str]:
    """Outcome and result of one call, within its time."""
    name = skill.tool.name
    try:
        async with asyncio.timeout(seconds):
            result = await skill.tool.ainvoke({**arguments, "caller": caller})
    except StoreUnavailable:
        raise  # the turn goes on from here when Redis is back
    except AssistantError as error:
        return "error", str(error)
    except ValidationError as error:
        return "error", _explain(name, error)
    except TimeoutError:
        return "error", f"{name} took longer than {seconds:g} seconds and was stopped"
    except Exception:  # a tool may fail in any way; the turn goes on, the traceback is in the log
        log.exception("tool %s failed in run %s", name, caller.run_id)
        return "error", f"{name} failed with an internal error; the log has the details"
    return "ok", scrub(str(result))


def _explain(name: str, error: ValidationError) -> str:
    """Wrong arguments, in words that let the model correct them."""
    wrong = "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)
    )
    return f"wrong arguments for {name}: {wrong}"


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and how much more there is."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n… ({len(text) - limit} more characters)"
