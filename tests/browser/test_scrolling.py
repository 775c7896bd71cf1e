"""The log follows the answer only while its reader is at the end."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.actions import finished, last_text, say
from tests.browser.conftest import Watch
from tests.browser.fake_state import Gate, Thread, World, answer, now, text, think
from tests.support.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "".join(f"Line {n} of a long answer.\n\n" for n in range(60))
AT_END = "log => log.scrollHeight - log.scrollTop - log.clientHeight <= 60"
TOP = "log => log.scrollTop"


async def at_end(page: Page) -> bool:
    return bool(await page.locator(".log").evaluate(AT_END))


async def test_reader_who_scrolls_up_stays_there(watch: Watch, world: World) -> None:
    world.scripts = {"go": [text(LONG), Gate("more"), text("\n\nNEWS\n\n"), *answer(LONG)]}
    page = await watch.open()
    await say(page, "go")
    await expect(last_text(page)).to_contain_text("Line 59")
    await expect(page.locator(".to-end")).to_have_count(0)
    assert await at_end(page)
    await page.locator(".log").hover()
    await page.mouse.wheel(0, -700)
    await expect(page.locator(".to-end")).to_be_visible()
    place = await page.locator(".log").evaluate(TOP)
    world.gate("more").set()
    await finished(page)
    assert await page.locator(".log").evaluate(TOP) == place
    await page.get_by_role("button", name="To latest").click()
    await expect(page.locator(".to-end")).to_have_count(0)
    assert await at_end(page)


@pytest.mark.parametrize("size", [(390, 560), (1366, 500), (844, 390)])
async def test_the_start_page_opens_at_its_beginning(
    watch: Watch, world: World, size: tuple[int, int]
) -> None:
    page = await watch.open()
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await page.reload()
    log = page.locator(".log")
    await expect(page.locator(".suggestions li")).to_have_count(4)
    assert await log.evaluate("log => log.scrollHeight - log.clientHeight") > 20
    assert await log.evaluate(TOP) == 0
    await page.locator(".greeting").hover()
    await page.mouse.wheel(0, 100)
    await wait_until(lambda: log.evaluate("log => log.scrollTop > 0"))
    await expect(page.locator(".to-end")).to_have_count(0)


async def test_a_new_conversation_begins_at_its_beginning(watch: Watch, world: World) -> None:
    world.scripts = {"go": answer(LONG)}
    page = await watch.open()
    await page.set_viewport_size({"width": 1000, "height": 500})
    await say(page, "go")
    await finished(page)
    await page.get_by_role("link", name="New chat").first.click()
    await expect(page.locator(".greeting")).to_be_visible()
    assert await page.locator(".log").evaluate(TOP) == 0


async def test_reader_at_the_end_is_taken_along(watch: Watch, world: World) -> None:
    world.scripts = {"go": [text(LONG), Gate("more"), text("NEWS"), *answer(LONG)]}
    page = await watch.open()
    await say(page, "go")
    await expect(last_text(page)).to_contain_text("Line 59")
    world.gate("more").set()
    await finished(page)
    assert await at_end(page)


async def test_folding_thoughts_does_not_move_who_reads(
    watch: Watch, world: World, thread: Thread
) -> None:
    thread.messages = [
        {"id": "m1", "role": "assistant", "text": LONG, "created_at": now(), "tools": []}
    ]
    world.scripts = {"go": [think("Hm. " * 200), Gate("thought"), *answer("Done.")]}
    page = await watch.open("/t/t1")
    await say(page, "go")
    await expect(page.locator(".reasoning-text")).to_be_visible()
    await page.locator(".log").hover()
    await page.mouse.wheel(0, -900)
    await expect(page.locator(".to-end")).to_be_visible()
    place = await page.locator(".log").evaluate(TOP)
    world.gate("thought").set()
    await finished(page)
    await expect(page.locator(".reasoning-text")).to_have_count(0)
    assert await page.locator(".log").evaluate(TOP) == place


async def test_older_messages_come_on_request(watch: Watch, thread: Thread) -> None:
    thread.messages = [
        {"id": f"m{n}", "role": role, "text": f"message {n}", "created_at": now(), "tools": []}
        for n in range(120)
        for role in (("user", "assistant")[n % 2],)
    ]
    page = await watch.open("/t/t1")
    await expect(page.locator("ai-message")).to_have_count(50)
    await expect(page.locator("ai-message").last).to_contain_text("message 119")
    older = page.get_by_role("button", name="Load older messages")
    await older.click()
    await expect(page.locator("ai-message")).to_have_count(100)
    first = page.locator("ai-message", has_text="message 70")
    await expect(first).to_be_in_viewport()
    await older.click()
    await expect(page.locator("ai-message")).to_have_count(120)
    await expect(older).to_have_count(0)
    shown = await page.locator(".bubble, .markdown").all_text_contents()
    assert [words.strip() for words in shown] == [f"message {n}" for n in range(120)]
