"""Turns through the real graph: plain, with tools, in several rounds, failing, stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from core.errors import ToolError
from core.store import keys
from core.store.client import Store
from tests.support.desk import USER
from tests.support.studio import (
    broken,
    calls,
    in_order,
    kinds,
    shown,
    stuck,
    studio,
    text,
    thinking,
)
from tests.support.waiting import wait_until
from tools.base import Tool, tool


def tools() -> list[Tool]:
    """Tools that work, fail and hang."""

    async def double(number: int) -> str:
        """Double a number.

        Args:
            number: Any.
        """
        return str(2 * number)

    async def refuse() -> str:
        """Always refuse."""
        raise ToolError("not today")

    async def crash() -> str:
        """Always crash."""
        raise ZeroDivisionError("secret detail")

    async def hang() -> str:
        """Never end."""
        await asyncio.Event().wait()
        return ""

    return [tool(double), tool(refuse), tool(crash), tool(hang)]


async def test_a_plain_turn_is_one_superstep(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("Hello there."))) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Hi")
        assert kinds(told) == ["turn_started", "text_delta", "message_completed", "turn_finished"]
        assert shown(told) == "Hello there."
        assert told[-1].data == {"status": "completed"}
        # LangGraph's own for the input and for START, and one for the only step.
        assert await it.checkpoints(thread) == 3
        record = await it.last(thread)
        assert (record["text"], record["status"]) == ("Hello there.", "completed")
        assert record["usage"] == {
            "prompt_tokens": 11, "completion_tokens": 5, "estimated": False
        }  # fmt: skip
        assert [m.text for m in await it.state(thread)] == ["Hi", "Hello there."]


async def test_thinking_is_shown_and_kept_apart(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(thinking("Hm.", "Yes."))) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Hi")
        assert kinds(told)[1:3] == ["reasoning_delta", "text_delta"]
        record = await it.last(thread)
        assert (record["reasoning"], record["text"]) == ("Hm.", "Yes.")


async def test_a_turn_with_tools(store: Store, tmp_path: Path) -> None:
    script = in_order(
        calls(("double", {"number": 4}), ("double", {"number": 5}), words="Let me see."),
        text("It is 8 and 10."),
    )
    async with studio(store, tmp_path, script, tools=tools()) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Double 4 and 5")
        assert shown(told) == "Let me see.\n\nIt is 8 and 10."
        finished = [event.data for event in told if event.type == "tool_finished"]
        assert sorted(data["summary"] for data in finished) == ["10", "8"]
        record = await it.last(thread)
        assert [tool["status"] for tool in record["tools"]] == ["ok", "ok"]
        assert record["usage"]["completion_tokens"] >= 5
        results = [m for m in it.model.bodies[-1]["messages"] if m["role"] == "tool"]
        assert [m["content"] for m in results] == ["8", "10"]


async def test_real_outcomes_of_bad_calls(store: Store, tmp_path: Path) -> None:
    """Each is told to the user and to the model, and the turn goes on."""
    script = in_order(
        calls(
            ("nothing", {}),
            ("refuse", {}),
            ("crash", {}),
            ("hang", {}),
            ("double", {"number": "many"}),
            ("double", '{"number": 4'),
        ),
        text("That did not work."),
    )
    groups: dict[str, Any] = {"orchestrator": {"tool_timeout": 0.2}}
    async with studio(store, tmp_path, script, tools=tools(), **groups) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Try all")
        ends = {e.data["call_id"]: e.data for e in told if e.type == "tool_finished"}
        assert [ends[f"call_{n}"]["status"] for n in range(6)] == ["refused", *["error"] * 5]
        summaries = [ends[f"call_{n}"]["summary"] for n in range(6)]
        assert "no tool 'nothing'" in summaries[0]
        assert summaries[1] == "not today"
        assert "internal error" in summaries[2]
        assert "secret detail" not in str(told)
        assert "longer than 0.2 seconds" in summaries[3]
        assert "wrong arguments for double: number" in summaries[4]
        assert "not a JSON object" in summaries[5]
        assert told[-1].data == {"status": "completed"}
        results = [m["content"] for m in it.model.bodies[-1]["messages"] if m["role"] == "tool"]
        assert len(results) == 6


async def test_without_autonomy_tools_run_once_then_the_model_must_answer(
    store: Store, tmp_path: Path
) -> None:
    """A model that calls tools for ever ran into the limit of 500 steps."""
    stubborn = in_order(calls(("double", {"number": 1}), ids="same"))
    groups: dict[str, Any] = {"orchestrator": {"autonomous_mode": False}}
    async with studio(store, tmp_path, stubborn, tools=tools(), **groups) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Go on")
        assert [e.type for e in told].count("tool_started") == 1
        assert told[-1].data == {"status": "failed"}
        assert len(it.model.bodies) == 2
        assert "tools" not in it.model.bodies[-1]
        again = await it.say(thread, "And now?")
        assert [e.type for e in again].count("tool_started") == 1


async def test_call_ids_that_a_server_uses_again(store: Store, tmp_path: Path) -> None:
    """The second turn's call looked answered already: it never ran, and the model was asked for
    ever."""
    script = in_order(
        calls(("double", {"number": 1}), ids="call"),
        text("2"),
        calls(("double", {"number": 2}), ids="call"),
        text("4"),
    )
    async with studio(store, tmp_path, script, tools=tools()) as it:
        thread = await it.desk.thread()
        await it.say(thread, "one")
        told = await it.say(thread, "two")
        assert [e.data["summary"] for e in told if e.type == "tool_finished"] == ["4"]
        assert shown(told) == "4"


async def test_a_failed_turn_keeps_its_partial_answer(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(broken("Half an ans"))) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Hi")
        assert [e.type for e in told][-2:] == ["turn_failed", "turn_finished"]
        failed = told[-2].data
        assert failed["retryable"]
        assert failed["detail"]
        record = await it.last(thread)
        assert (record["text"], record["status"]) == ("Half an ans", "failed")
        assert record["error"]["code"] == failed["code"]


async def test_try_again_gives_one_clean_answer(store: Store, tmp_path: Path) -> None:
    script = in_order(broken("Half"), text("Whole."), text("More."))
    async with studio(store, tmp_path, script) as it:
        thread = await it.desk.thread()
        await it.say(thread, "Hi", "m1")
        told = await it.say(thread, "Hi", "m2", retry_of="m1")
        assert shown(told) == "Whole."
        assert [m.text for m in await it.state(thread)] == ["Hi", "Whole."]
        page = await it.services.threads.page(thread, limit=50, before=None)
        assert [m["text"] for m in page.messages] == ["Hi", "Whole."]
        await it.say(thread, "Go on", "m3")
        sent = it.model.bodies[-1]["messages"]
        assert [m["content"] for m in sent if m["role"] == "user"] == ["Hi", "Go on"]


async def test_an_empty_answer_is_a_failure(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text(" "))) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Hi")
        assert "empty answer" in told[-2].data["detail"]


async def test_cancel_keeps_what_was_said(store: Store, tmp_path: Path) -> None:
    gate = asyncio.Event()
    script = in_order(stuck("So far", gate), text("Next."))
    async with studio(store, tmp_path, script) as it:
        thread = await it.desk.thread()
        run = (await it.desk.send(thread)).run_id
        turns = it.turns()
        working = asyncio.create_task(turns.take(await it.take(thread)))
        await wait_until(lambda: _said(it, thread))
        turns.stop(run, "user")
        await asyncio.wait_for(working, 1)
        told = await it.told(thread, run)
        assert told[-1].data == {"status": "cancelled"}
        record = await it.last(thread)
        assert (record["text"], record["status"]) == ("So far", "cancelled")
        await wait_until(lambda: it.model.dropped == 1)
        assert shown(await it.say(thread, "And now?")) == "Next."


async def _said(it: Any, thread: str) -> bool:
    return any(kind == "text_delta" for kind, _ in await it.desk.told(thread))


async def test_calls_left_behind_by_a_stop_are_mended(store: Store, tmp_path: Path) -> None:
    script = in_order(calls(("hang", {}), ("double", {"number": 3})), text("Fine."))
    async with studio(store, tmp_path, script, tools=tools()) as it:
        thread = await it.desk.thread()
        run = (await it.desk.send(thread)).run_id
        turns = it.turns()
        working = asyncio.create_task(turns.take(await it.take(thread)))
        await wait_until(lambda: _tool_ended(it, thread))
        turns.stop(run, "user")
        await asyncio.wait_for(working, 1)
        statuses = {t["name"]: t["status"] for t in (await it.last(thread))["tools"]}
        assert statuses == {"hang": "unknown", "double": "ok"}
        assert shown(await it.say(thread, "And now?")) == "Fine."
        results = [m["content"] for m in it.model.bodies[-1]["messages"] if m["role"] == "tool"]
        assert len(results) == 2
        assert "interrupted" in results[0]


async def _tool_ended(it: Any, thread: str) -> bool:
    return any(kind == "tool_finished" for kind, _ in await it.desk.told(thread))


async def test_a_turn_has_a_time_limit(store: Store, tmp_path: Path) -> None:
    script = in_order(stuck("Hm", asyncio.Event()))
    async with studio(store, tmp_path, script, orchestrator={"turn_timeout": 0.3}) as it:
        thread = await it.desk.thread()
        told = await it.say(thread, "Hi")
        assert told[-2].data["code"] == "timeout"
        assert (await it.last(thread))["text"] == "Hm"


async def test_a_stateless_client_brings_its_history(store: Store, tmp_path: Path) -> None:
    history = (
        {"role": "system", "content": "Speak like a pirate."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Arr."},
    )
    async with studio(store, tmp_path, in_order(text("Aye."))) as it:
        thread = await it.desk.thread(ttl=60)
        await it.say(thread, "Who?", history=history)
        system, *rest = it.model.bodies[-1]["messages"]
        assert "pirate" in system["content"]
        assert [(m["role"], m["content"]) for m in rest] == [
            ("user", "Hi"), ("assistant", "Arr."), ("user", "Who?")
        ]  # fmt: skip
        await it.services.gateway.settle()
        for name in await it.desk.redis.keys(f"*{thread}*"):
            assert 0 < await it.desk.redis.ttl(name) <= 3600, name


async def test_a_run_that_was_taken_over_stops_and_no_tool_takes_that_for_its_own_error(
    store: Store, tmp_path: Path
) -> None:
    async def lose() -> str:
        """Return when another worker has the conversation."""
        await store.redis.hincrby(keys.control(thread), "ep", 1)
        return "lost"

    async def wait() -> str:
        """Return later than the other."""
        await asyncio.sleep(0.3)
        return "waited"

    script = in_order(calls(("lose", {}), ("wait", {})), text("Never said."))
    lost = [tool(lose), tool(wait)]
    async with studio(store, tmp_path, script, tools=lost) as it:
        thread = await it.desk.thread()
        run = (await it.desk.send(thread, "m1", "Try both")).run_id
        assert await it.turns().take(await it.take(thread)) is None
        told = await it.told(thread, run)
        assert set(kinds(told)) <= {"turn_started", "tool_started"}
        assert await it.desk.transcript(thread) == []
        assert await it.desk.redis.xlen(keys.inbox(thread)) == 1


async def test_tools_change_what_the_same_turn_knows_of_the_user(
    store: Store, tmp_path: Path
) -> None:
    async def rename() -> str:
        """Rename the user."""
        await it.services.profiles.update(USER, {"name": "Grace"})
        return "done"

    script = in_order(calls(("rename", {})), text("Hello Grace."))
    async with studio(store, tmp_path, script, tools=[tool(rename)]) as it:
        thread = await it.desk.thread()
        await it.services.profiles.update(USER, {"name": "Ada"})
        await it.say(thread, "Call me Grace")
        first, second = (body["messages"][0]["content"] for body in it.model.bodies)
        assert "- name: Ada" in first
        assert "- name: Grace" in second
