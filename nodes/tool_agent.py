"""A tool agent: runs one call of the model and reports its real outcome to user and model."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.runtime import Runtime
from pydantic import ValidationError

from core.errors import ToolError
from core.events import ToolFinished, ToolStarted, ToolStatus, scrub
from nodes.state import Context, ToolTask
from tools.base import Caller, Skill

log = logging.getLogger(__name__)

MAX_RESULT = 20_000
"""Characters of a result that the model sees: about 5,000 tokens."""

MAX_SUMMARY = 400


async def tool_agent(state: ToolTask, runtime: Runtime[Context]) -> dict[str, Any]:
    """Run the call. Whatever goes wrong becomes a result; only a stop of the turn passes
    through."""
    call, turn = state["call"], state["turn"]
    emit = runtime.stream_writer
    emit(ToolStarted(call["id"], call["name"], call["args"]))
    caller = Caller(turn["user_id"], turn["run_id"].rpartition(".")[0], turn["run_id"])
    seconds = runtime.context.services.settings.current.orchestrator.tool_timeout
    status, text = await run_call(
        runtime.context.toolbox.skills[call["name"]], call["args"], caller, seconds
    )
    emit(ToolFinished(call["id"], status, _shortened(text, MAX_SUMMARY)))
    message = ToolMessage(
        _shortened(text, MAX_RESULT),
        tool_call_id=call["id"],
        name=call["name"],
        status="success" if status == "ok" else "error",
        id=f"{call['id']}-r",
    )
    return {"messages": [message]}


async def run_call(
    skill: Skill, arguments: dict[str, Any], caller: Caller, seconds: float
) -> tuple[ToolStatus, str]:
    """Outcome and result of one call, within its time."""
    name = skill.tool.name
    try:
        async with asyncio.timeout(seconds):
            result = await skill.tool.ainvoke({**arguments, "caller": caller})
    except ToolError as error:
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


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n… ({len(text) - limit} more characters)"
