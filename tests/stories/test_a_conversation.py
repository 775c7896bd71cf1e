"""What the assistant does for somebody, told in short. Read this first to learn what it is."""

from __future__ import annotations

import asyncio
import signal

import openai
import pytest

from tests.support.friend import Friend
from tests.support.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

LONG = "Tell me something long"
"""What the scripted model answers slowly, so that there is time to do something meanwhile."""


async def test_a_question_is_answered_word_by_word(friend: Friend) -> None:
    chat = await friend.begin()
    run = (await chat.send(LONG))["run_id"]
    shown = await chat.watch(run)
    assert shown.types.count("text_delta") > 1
    assert shown.text == shown.completed == (await chat.messages())[-1]["text"]
    assert shown.types[-1] == "turn_finished"


async def test_what_i_say_of_myself_is_known_in_the_next_conversation(friend: Friend) -> None:
    assert "Ada" in await (await friend.begin()).ask("My name is Ada")
    assert "Ada" in await (await friend.begin()).ask("What do you know about me?")
    assert (await friend.client.get("/api/profile")).json()["name"] == "Ada"


async def test_the_real_outcome_of_a_tool_stands_beside_the_answer(friend: Friend) -> None:
    chat = await friend.begin()
    await chat.ask('tool:set_profile {"key": "time_zone", "value": "Nowhere/Atlantis"}')
    [tool] = (await chat.messages())[-1]["tools"]
    assert (tool["name"], tool["status"]) == ("set_profile", "error")


async def test_a_page_that_is_loaded_again_goes_on_where_it_was(friend: Friend) -> None:
    chat = await friend.begin()
    await chat.send(LONG)
    seen = await chat.first_words()
    rest = await chat.events(after=seen.id)
    whole = await chat.events()
    assert whole[-len(rest) :] == rest
    assert whole[-len(rest) - 1] == seen


async def test_a_message_that_is_sent_twice_is_answered_once(friend: Friend) -> None:
    chat = await friend.begin()
    first = await chat.send("bench:5", id="from-my-phone")
    assert await chat.send("bench:5", id="from-my-phone") == first
    await chat.events()
    assert [m["role"] for m in await chat.messages()] == ["user", "assistant"]


async def test_an_answer_that_i_stop_keeps_what_was_said(friend: Friend) -> None:
    chat = await friend.begin()
    run = (await chat.send(LONG))["run_id"]
    await chat.first_words()
    await friend.client.post(f"/api/runs/{run}/cancel")
    assert (await chat.watch(run)).status == "cancelled"
    answer = (await chat.messages())[-1]
    assert answer["status"] == "cancelled"
    assert answer["text"]


async def test_another_try_takes_the_place_of_the_answer(friend: Friend) -> None:
    chat = await friend.begin()
    await chat.ask("bench:5")
    again = (await friend.client.post(f"/api/threads/{chat.id}/retry")).json()["run_id"]
    await chat.watch(again)
    answers = [m for m in await chat.messages() if m["role"] == "assistant"]
    assert [m["run_id"] for m in answers] == [again]


async def test_messages_are_answered_in_order_and_conversations_side_by_side(
    friend: Friend,
) -> None:
    one, other = await friend.begin(), await friend.begin()
    for text in ("bench:40", "bench:3"):
        await one.send(text)
    await other.ask("bench:3")
    await one.events()
    asked = [m["text"] for m in await one.messages() if m["role"] == "user"]
    assert asked == ["bench:40", "bench:3"]
    assert [m["role"] for m in await one.messages()] == ["user", "assistant"] * 2


async def test_an_answer_outlives_the_worker_that_began_it(stack: Stack, friend: Friend) -> None:
    chat = await friend.begin()
    run = (await chat.send(LONG))["run_id"]
    await chat.first_words()
    await stack.stop("worker1", signal.SIGKILL)
    await stack.start_worker("worker1")
    shown = await chat.watch(run)
    assert (shown.status, shown.attempts) == ("completed", 2)
    assert [m["status"] for m in await chat.messages()] == ["completed", "completed"]


async def test_an_openai_client_is_served_unchanged(stack: Stack) -> None:
    client = openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=stack.key)
    answer = await client.chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": "bench:5"}]
    )
    assert answer.choices[0].message.content
    await client.close()


async def test_a_conversation_that_i_delete_is_gone(friend: Friend) -> None:
    chat = await friend.begin()
    await chat.ask("bench:5")
    listening = asyncio.create_task(chat.events())
    await listening
    assert (await friend.client.delete(f"/api/threads/{chat.id}")).status_code == 204
    assert (await friend.client.get(f"/api/threads/{chat.id}")).status_code == 404


async def test_the_assistant_says_what_it_can_do(friend: Friend) -> None:
    found = (await friend.client.get("/api/tools")).json()["items"]
    assert {"current_time", "set_profile"} <= {tool["name"] for tool in found}
