"""The list of threads, and getting along without a mouse."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.actions import finished, last_text, say
from tests.browser.conftest import Watch
from tests.browser.demo import old_threads
from tests.browser.fake_state import Gate, Thread, World, answer, text

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_first_message_makes_a_titled_thread(watch: Watch, world: World) -> None:
    world.fallback = answer("Fine.")
    page = await watch.open()
    await say(page, "How are you today?\nTell me all.")
    await finished(page)
    await page.wait_for_url("**/t/t1")
    await expect(page.locator("h1")).to_have_text("How are you today?")
    await expect(page.locator(".thread.current")).to_contain_text("How are you today?")


async def test_search_by_title(watch: Watch, world: World) -> None:
    world.threads = old_threads()
    page = await watch.open()
    await expect(page.locator(".thread")).to_have_count(6)
    await page.get_by_role("searchbox").fill("БОРЩ")
    await expect(page.locator(".thread")).to_have_count(1)
    await page.get_by_role("searchbox").fill("no such thing")
    await expect(page.locator("nav")).to_have_text("Nothing found.")


async def test_rename_and_delete(watch: Watch, world: World) -> None:
    world.threads = old_threads()
    page = await watch.open("/t/t3")
    row = page.locator(".thread", has_text="Lisbon")
    await row.get_by_role("button", name="Rename").click()
    await page.keyboard.type("Porto in April")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("Porto in April")
    assert world.threads["t3"].title == "Porto in April"
    await page.locator(".thread.current").get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Porto in April")
    await page.keyboard.press("Escape")
    assert "t3" in world.threads
    await page.locator(".thread.current").get_by_role("button", name="Delete").click()
    await dialog.get_by_role("button", name="Delete").click()
    await expect(page.locator(".thread")).to_have_count(5)
    await page.wait_for_url("**/")


async def test_a_conversation_that_is_deleted_elsewhere_is_said_and_a_new_one_offered(
    watch: Watch, world: World
) -> None:
    world.threads = old_threads()
    world.scripts = {"long": [text("Half of "), Gate("never")]}
    context = await watch.context()
    here, there = await context.new_page(), await context.new_page()
    for page in (here, there):
        await page.goto(f"{watch.url}/t/t3")
        await expect(page.locator(".thread")).to_have_count(6)
    await say(here, "long")
    await expect(last_text(there)).to_have_text("Half of")
    await there.locator("#message").fill("words not sent yet")
    await here.locator(".thread.current").get_by_role("button", name="Delete").click()
    await here.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await here.wait_for_url("**/")
    await expect(there.locator(".thread-problem")).to_contain_text("This conversation was deleted.")
    await expect(there.locator(".thread")).to_have_count(5)
    await expect(there.locator(".connection")).to_have_count(0)
    await expect(there.get_by_role("button", name="Stop")).to_have_count(0)
    await there.locator(".thread-problem").get_by_role("button", name="New chat").click()
    await there.wait_for_url(f"{watch.url}/")
    await expect(there.locator("#message")).to_have_value("words not sent yet")


async def test_newcomer_is_led_to_a_model(watch: Watch, world: World) -> None:
    world.servers = [{"kind": "ollama", "base_url": "http://127.0.0.1:11434/v1", "models": []}]
    page = await watch.open()
    await expect(page.locator(".first-run")).to_contain_text("No model yet.")
    await page.get_by_role("link", name="Choose a model").click()
    await page.wait_for_url("**/settings?first=1")


async def test_suggestion_fills_the_composer(watch: Watch) -> None:
    page = await watch.open()
    await page.get_by_role("button", name="Plan my week").click()
    await expect(page.locator("#message")).to_be_focused()
    await expect(page.locator("#message")).to_have_value(
        "Help me plan my week. Ask me what matters first."
    )
    await expect(page.locator(".first-run")).to_have_count(0)


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element of this name has the focus."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.matches(':focus-visible')"):
            label: str = await page.evaluate(
                "document.activeElement.ariaLabel ?? document.activeElement.innerText"
            )
            if label.strip() == name:
                return
    raise AssertionError(f"Tab never reaches {name!r}")


async def test_keyboard_alone_is_enough(watch: Watch, world: World) -> None:
    world.signed_in = False
    world.scripts = {"one\ntwo": answer("Got two lines."), "long": [Gate("never")]}
    page = await watch.open("/", signed_in=False)
    await page.keyboard.type(world.password)
    await page.keyboard.press("Enter")
    await expect(page.locator("#message")).to_be_focused()
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    await finished(page)
    await expect(last_text(page)).to_have_text("Got two lines.")
    await page.keyboard.type("long")
    await page.keyboard.press("Enter")
    await tab_to(page, "Stop")
    await page.keyboard.press("Enter")
    await finished(page)
    await tab_to(page, "Settings")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/settings")


async def test_drawer_on_a_phone(watch: Watch, world: World) -> None:
    world.threads = old_threads()
    page = await watch.open("/", width=390)
    await expect(page.locator(".sidebar")).not_to_be_visible()
    await page.get_by_role("button", name="Open the list").click()
    await expect(page.get_by_role("button", name="Close the list")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Open the list")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="Unit tests for the parser").click()
    await expect(page.locator("h1")).to_have_text("Unit tests for the parser")
    await expect(page.locator(".sidebar")).not_to_be_visible()


async def test_the_focus_stays_in_the_list(watch: Watch, world: World) -> None:
    world.threads = {f"t{n}": Thread(f"t{n}", f"Title {n}") for n in (1, 2, 3)}
    page = await watch.open("/t/t1")
    for key in ("Enter", "Escape"):
        await page.get_by_role("link", name="Title 2").focus()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.locator("input.rename")).to_be_focused()
        await page.keyboard.press(key)
        await expect(page.get_by_role("link", name="Title 2")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("link", name="Title 2")).to_have_count(0)
    await expect(page.locator(".thread a:focus")).to_have_count(1)
