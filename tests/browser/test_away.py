"""Lost sessions, lost networks, refused messages, many tabs: nothing typed is lost."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.actions import finished, last_text, say
from tests.browser.conftest import Watch
from tests.browser.fake_state import Gate, Thread, World, answer, text

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_lost_session_leads_to_sign_in_and_back(
    watch: Watch, world: World, thread: Thread
) -> None:
    watch.allow("401")
    page = await watch.open("/t/t1")
    await expect(page.locator("h1")).to_have_text("First words")
    world.signed_in = False
    await say(page, "my precious words")
    await page.wait_for_url("**/login?next=%2Ft%2Ft1")
    await page.locator("#password").fill(world.password)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/t/t1")
    await expect(page.locator("#message")).to_have_value("my precious words")


async def test_a_lost_connection_is_told_and_the_words_are_kept(
    watch: Watch, world: World, thread: Thread
) -> None:
    watch.allow("ERR_INTERNET_DISCONNECTED", "ERR_INCOMPLETE_CHUNKED_ENCODING")
    world.scripts = {"hello": answer("Hi.")}
    page = await watch.open("/t/t1")
    await expect(page.locator("h1")).to_have_text("First words")
    await page.context.set_offline(True)
    await expect(page.locator(".connection")).to_contain_text("Reconnecting…")
    await say(page, "hello")
    await expect(page.locator(".composer-problem")).to_contain_text("cannot be reached")
    for place in (".connection", ".composer-problem"):
        icon = page.locator(f"{place} use")
        assert await icon.evaluate("use => use.getBBox().width") > 10, place
    await expect(page.locator("#message")).to_have_value("hello")
    await expect(page.locator(".message")).to_have_count(0)
    await page.context.set_offline(False)
    await expect(page.locator(".connection")).to_have_count(0)
    await page.keyboard.press("Enter")
    await finished(page)
    await expect(last_text(page)).to_have_text("Hi.")
    assert len({body["id"] for _, path, body in world.calls if path.endswith("/messages")}) == 1


async def test_a_script_that_does_not_come_is_told_and_can_be_loaded_again(watch: Watch) -> None:
    watch.allow("ERR_FAILED")
    context = await watch.context()
    page = await context.new_page()
    await page.route("**/js/chat/welcome.js", lambda route: route.abort())
    await page.goto(watch.url)
    words = page.get_by_text("This page did not load completely.")
    await expect(words).to_be_visible(timeout=15_000)
    await page.unroute("**/js/chat/welcome.js")
    await page.get_by_role("link", name="Load it again").click()
    await expect(page.locator(".greeting")).to_be_visible()
    await expect(page.locator(".unloaded")).to_have_count(0)


async def test_an_assistant_on_the_same_machine_needs_no_network(watch: Watch) -> None:
    page = await watch.open("/login", signed_in=False)
    told: Any = await page.evaluate(
        """async () => {
          const { offline } = await import('/static/js/reach.js');
          const here = ['localhost', 'assistant.localhost', '127.0.0.1', '127.1.2.3', '[::1]'];
          const there = ['nas.local', '192.168.1.5', 'localhost.example', '127.0.0.1.example'];
          const tell = (hosts, onLine) => hosts.map(host => offline(host, onLine));
          return [tell(here, false), tell(there, false), tell(there, true)];
        }"""
    )
    assert told == [[False] * 5, [True] * 4, [False] * 4]


async def test_refused_message_comes_back_with_the_reason(
    watch: Watch, world: World, thread: Thread
) -> None:
    watch.allow("429")
    world.refuse_next = {
        "status": 429,
        "code": "inbox_full",
        "detail": "Too many messages wait here.",
        "retry_after": 5,
    }
    page = await watch.open("/t/t1")
    await say(page, "one more")
    problem = page.locator(".composer-problem")
    await expect(problem).to_have_text("Too many messages wait here. Try again in 5 seconds.")
    await expect(page.locator("#message")).to_have_value("one more")
    await expect(page.locator(".message")).to_have_count(0)


async def test_drafts_belong_to_their_threads(watch: Watch, world: World) -> None:
    world.threads = {"t1": Thread("t1", "One"), "t2": Thread("t2", "Two")}
    page = await watch.open("/t/t1")
    await page.locator("#message").fill("draft of one")
    await page.get_by_role("link", name="Two").click()
    await expect(page.locator("#message")).to_have_value("")
    await page.locator("#message").fill("draft of two")
    await page.go_back()
    await expect(page.locator("h1")).to_have_text("One")
    await expect(page.locator("#message")).to_have_value("draft of one")
    await page.reload()
    await expect(page.locator("#message")).to_have_value("draft of one")


async def test_missing_thread_is_said(watch: Watch) -> None:
    watch.allow("404")
    page = await watch.open("/t/nothing")
    await expect(page.locator(".thread-problem")).to_contain_text("does not exist any more")
    await expect(page.locator("#message")).not_to_be_visible()
    await expect(page.locator("h1")).to_have_text("Assistant")
    await page.get_by_role("main").get_by_role("button", name="New chat").click()
    await expect(page.locator("#message")).to_be_focused()


async def test_eight_tabs(watch: Watch, world: World, thread: Thread) -> None:
    world.scripts = {"go": [text("Part one, "), Gate("rest"), text("part two.")]}
    context = await watch.context()
    tabs = [await context.new_page() for _ in range(8)]
    for tab in tabs:
        await tab.goto(f"{watch.url}/t/t1", timeout=5000)
        await expect(tab.locator("h1")).to_have_text("First words")
    await say(tabs[-1], "go")
    await expect(last_text(tabs[-1])).to_have_text("Part one,")
    await tabs[0].bring_to_front()
    await tabs[0].locator("#message").click()
    await expect(last_text(tabs[0])).to_have_text("Part one,")
    world.gate("rest").set()
    await finished(tabs[0])
    await finished(tabs[-1])
    await expect(last_text(tabs[0])).to_have_text("Part one, part two.")
