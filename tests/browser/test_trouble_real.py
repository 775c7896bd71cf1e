"""The line at the top, and what becomes of words, on a real assistant whose parts really fail."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from core.home.embedded import start_server
from core.settings.groups import StoreSettings
from core.store.connection import connect
from tests.browser.actions import answers, finished, say
from tests.browser.conftest import Watch
from tests.browser.fake_state import World
from tests.support.stack import PASSWORD, Stack, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

PATIENT = 30_000
"""Milliseconds; this machine may do other work as well."""

LINE = "#trouble strong"


async def signed_in(browser: Browser, stack: Stack) -> tuple[Watch, Page]:
    """A page of the real assistant with an answer on it."""
    watch = Watch(browser, stack.url, World())
    watch.allow("503", "500", "ERR_", "Failed to load")
    page = await watch.open("/login", signed_in=False)
    await page.locator("#password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{stack.url}/")
    await say(page, "bench:3")
    await finished(page)
    return watch, page


async def test_a_full_store_is_told_and_what_was_written_is_kept(chromium: Browser) -> None:
    async with running_stack() as stack:
        redis: Any = connect(stack.server.url)
        watch, page = await signed_in(chromium, stack)
        assert (await redis.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        await expect(page.locator("#trouble")).to_be_empty()
        await redis.config_set("maxmemory", "1mb")
        await say(page, "bench:4")
        await expect(page.locator(LINE)).to_have_text("The data store is full.", timeout=PATIENT)
        await expect(page.locator(".composer-problem")).to_contain_text("out of memory")
        await expect(page.locator("#message")).to_have_value("bench:4")
        await page.reload()
        await expect(page.locator("#message")).to_have_value("bench:4")
        await expect(page.locator(LINE)).to_have_text("The data store is full.", timeout=PATIENT)
        other = await page.context.new_page()
        await other.goto(f"{stack.url}/settings")
        await expect(other.locator(LINE)).to_have_text("The data store is full.", timeout=PATIENT)
        await redis.config_set("maxmemory", "0")
        await expect(page.locator(LINE)).to_have_count(0, timeout=PATIENT)
        await expect(other.locator(LINE)).to_have_count(0, timeout=PATIENT)
        await expect(page.locator(".send")).to_be_enabled()  # the conversation is there
        await page.locator("#message").press("Enter")
        await expect(answers(page)).to_have_count(2, timeout=PATIENT)
        await finished(page)
        await redis.config_set("replica-read-only", "yes")
        await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        await expect(page.locator(LINE)).to_have_text(
            "The data store is read-only.", timeout=PATIENT
        )
        await redis.execute_command("REPLICAOF", "NO", "ONE")
        await expect(page.locator(LINE)).to_have_count(0, timeout=PATIENT)
        await redis.aclose()
        await watch.close()


async def test_a_store_that_is_away_is_told_and_everything_comes_back_by_itself(
    chromium: Browser,
) -> None:
    async with running_stack() as stack:
        watch, page = await signed_in(chromium, stack)
        await stack.server.stop()
        away = page.locator(LINE)
        await expect(away).to_have_text("The data store does not answer.", timeout=PATIENT)
        await say(page, "bench:4")
        await expect(page.locator(".composer-problem")).to_be_visible(timeout=PATIENT)
        await expect(page.locator("#message")).to_have_value("bench:4")
        answer = await page.reload()
        assert answer is not None
        assert answer.status == 503
        await expect(page.locator("h1")).to_have_text("One moment")
        await expect(away).to_have_text("The data store does not answer.", timeout=PATIENT)
        await start_server(stack.home, StoreSettings())
        await expect(page.locator("#message")).to_have_value("bench:4", timeout=PATIENT)
        await expect(away).to_have_count(0, timeout=PATIENT)
        await expect(page.locator(".send")).to_be_enabled()  # the conversation is there
        await page.locator("#message").press("Enter")
        await expect(answers(page)).to_have_count(2, timeout=PATIENT)
        await finished(page)
        await watch.close()


async def test_missing_workers_and_a_missing_model_are_told(chromium: Browser) -> None:
    async with running_stack() as stack, stack.client() as client:
        watch, page = await signed_in(chromium, stack)
        await stack.stop("worker1")
        await expect(page.locator(LINE)).to_have_text("Nobody is at work.", timeout=PATIENT)
        door = await watch.open("/login", signed_in=False)
        await expect(door.locator(LINE)).to_have_text("Nobody is at work.", timeout=PATIENT)
        await stack.start_worker("worker2")
        await expect(page.locator(LINE)).to_have_count(0, timeout=PATIENT)
        await expect(door.locator(LINE)).to_have_count(0, timeout=PATIENT)

        bad = {"base_url": "http://127.0.0.1:9/v1"}
        assert (await client.put("/api/settings/model", json=bad)).status_code == 200
        await say(page, "bench:4")
        text = "The model server could not be reached."
        await expect(page.locator(LINE)).to_have_text(text, timeout=PATIENT)
        fix = page.locator(".failure").get_by_role("link", name="Model settings")
        await expect(fix).to_have_attribute("href", "/settings#base_url", timeout=PATIENT)
        good = {"base_url": None}
        assert (await client.put("/api/settings/model", json=good)).status_code == 200
        await expect(page.locator(LINE)).to_have_count(0, timeout=PATIENT)
        await watch.close()
