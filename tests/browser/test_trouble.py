"""The line that says why messages are not answered: on every page, only while it is true."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, Request, Route, expect

from tests.browser.actions import finished, say
from tests.browser.conftest import Watch
from tests.browser.fake_state import Thread, World, answer
from tests.browser.test_looks import OVERFLOW, violations
from tests.support.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

FULL = {
    "status": 503,
    "code": "store_full",
    "detail": "Redis is out of memory; give it more memory",
}
CODES = {
    "store_full": "Give Redis more memory",
    "store_disk_full": "Free some space",
    "store_read_only": "REDIS_URL has to point to the primary",
    "store_unavailable": "start the assistant or Redis again",
    "store_error": "what the server says of it",
    "no_worker": "assistant worker",
    "model_unreachable": "check its address",
}


async def shut(page: Page, hidden: bool) -> None:
    """Let the page believe that it is hidden, or seen again."""
    await page.evaluate(
        """hidden => {
          Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
          document.dispatchEvent(new Event('visibilitychange'));
        }""",
        hidden,
    )


@pytest.mark.parametrize("code", CODES)
async def test_every_trouble_is_told_with_what_to_do(
    watch: Watch, world: World, thread: Thread, code: str
) -> None:
    page = await watch.open("/t/t1")
    line = page.locator("#trouble")
    await expect(page.locator("h1")).to_have_text("First words")
    await expect(line).to_be_empty()
    world.be_in(code)
    await expect(line).to_contain_text(CODES[code])
    assert await line.get_attribute("role") == "alert"
    world.be_in(None)
    await expect(line.locator("strong")).to_have_count(0)
    await expect(line).to_have_text("Everything works again.")
    await expect(line.locator("p")).to_have_class("visually-hidden")


@pytest.mark.parametrize("path", ["/", "/t/t1", "/settings", "/login", "/setup"])
async def test_every_page_tells_it(watch: Watch, world: World, thread: Thread, path: str) -> None:
    world.be_in("store_full")
    page = await watch.open(path, signed_in=path not in ("/login", "/setup"), width=390)
    await expect(page.locator("#trouble")).to_contain_text("The data store is full.")
    assert await page.evaluate(OVERFLOW) == 0
    world.be_in(None)
    await expect(page.locator("#trouble strong")).to_have_count(0, timeout=10_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("path", "width"), [("/t/t1", 390), ("/settings", 1200), ("/login", 390)])
async def test_it_can_be_read_by_everybody(
    watch: Watch, world: World, thread: Thread, path: str, width: int, scheme: str
) -> None:
    world.be_in("store_unavailable")
    page = await watch.open(path, signed_in=path != "/login", width=width, scheme=scheme)
    await expect(page.locator("#trouble strong")).to_be_visible()
    assert await violations(page) == []
    world.be_in("model_unreachable")
    await expect(page.locator("#trouble .mild")).to_be_visible(timeout=10_000)
    assert await violations(page) == []


async def test_it_speaks_russian(watch: Watch, world: World) -> None:
    world.be_in("no_worker")
    page = await watch.open("/settings", locale="ru-RU")
    await expect(page.locator("#trouble")).to_contain_text("Никто не работает.")


async def test_an_idle_page_asks_for_nothing(watch: Watch, world: World, thread: Thread) -> None:
    context = await watch.context()
    page = await context.new_page()
    await page.clock.install()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{watch.url}/t/t1")
    await wait_until(lambda: world.status_streams == 1)
    await expect(page.locator("h1")).to_have_text("First words")
    asked.clear()
    await page.clock.run_for(120_000)
    assert asked == []


async def test_before_sign_in_four_small_questions_a_minute_are_enough(watch: Watch) -> None:
    context = await watch.context(signed_in=False)
    page = await context.new_page()
    await page.clock.install()
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/static/" not in request.url:
            asked.append(request.url.removeprefix(watch.url))

    page.on("request", note)
    await page.goto(f"{watch.url}/login")
    await wait_until(lambda: "/readyz" in asked)
    asked.clear()
    for _ in range(60):
        await page.clock.run_for(1000)
    await wait_until(lambda: asked)
    assert set(asked) == {"/readyz"}
    assert len(asked) <= 4
    await shut(page, hidden=True)
    asked.clear()
    for _ in range(60):
        await page.clock.run_for(1000)
    assert asked == []


async def test_a_hidden_tab_holds_no_stream_and_catches_up_when_it_is_seen(
    watch: Watch, world: World
) -> None:
    page = await watch.open("/settings")
    await wait_until(lambda: world.status_streams == 1)
    await shut(page, hidden=True)
    await wait_until(lambda: world.status_streams == 0)
    world.be_in("no_worker")
    await shut(page, hidden=False)
    await expect(page.locator("#trouble")).to_contain_text("Nobody is at work.")


async def test_all_tabs_share_one_stream(watch: Watch, world: World) -> None:
    context = await watch.context()
    tabs = [await context.new_page() for _ in range(4)]
    for tab in tabs:
        await tab.goto(f"{watch.url}/settings")
    await wait_until(lambda: world.status_streams == 1)
    world.be_in("store_full")
    for tab in tabs:
        await expect(tab.locator("#trouble")).to_contain_text("The data store is full.")
    await tabs[-1].close()
    await wait_until(lambda: world.status_streams == 1, timeout=10)
    world.be_in(None)
    for tab in tabs[:-1]:
        await expect(tab.locator("#trouble strong")).to_have_count(0)


async def test_a_refused_message_brings_the_line_at_once_and_stays_in_the_composer(
    watch: Watch, world: World, thread: Thread
) -> None:
    watch.allow("503")
    world.scripts = {"precious": answer("Kept.")}
    page = await watch.open("/t/t1")
    await expect(page.locator("h1")).to_have_text("First words")
    world.refuse_next = FULL
    world.trouble = {"code": "store_full", "detail": "full"}  # the stream has not noticed yet
    await say(page, "precious")
    await expect(page.locator("#trouble")).to_contain_text("The data store is full.")
    await expect(page.locator(".composer-problem")).to_contain_text("out of memory")
    await expect(page.locator("#message")).to_have_value("precious")
    await page.reload()
    await expect(page.locator("#message")).to_have_value("precious")
    await expect(page.locator("#trouble")).to_contain_text("The data store is full.")
    world.be_in(None)
    await expect(page.locator("#trouble strong")).to_have_count(0)
    await expect(page.locator(".send")).to_be_enabled()  # the conversation is there
    await page.locator("#message").press("Enter")
    await finished(page)
    sent = [body["id"] for _, path, body in world.calls if path.endswith("/messages")]
    assert len(sent) == 2
    assert len(set(sent)) == 1


async def test_recovery_clears_the_reason_at_the_composer(
    watch: Watch, world: World, thread: Thread
) -> None:
    watch.allow("503")
    page = await watch.open("/t/t1")
    await expect(page.locator("h1")).to_have_text("First words")
    world.be_in("store_full")
    world.refuse_next = FULL
    await say(page, "precious")
    await expect(page.locator(".composer-problem")).to_contain_text("out of memory")
    world.be_in(None)
    await expect(page.locator(".composer-problem")).to_have_count(0)
    await expect(page.locator("#message")).to_have_value("precious")


@pytest.mark.parametrize("arrives", [True, False])
async def test_words_under_way_outlive_a_reload_and_are_sent_once(
    watch: Watch, world: World, thread: Thread, arrives: bool
) -> None:
    watch.allow("Failed to load resource")
    world.scripts = {"precious": answer("Kept.")}
    page = await watch.open("/t/t1")
    held: list[Route] = []

    async def hold(route: Route) -> None:
        if held:
            await route.continue_()
            return
        held.append(route)  # the page never hears of it
        if arrives:
            await route.fetch()

    await page.route("**/messages", hold)
    await say(page, "precious")
    await wait_until(lambda: held and len(world.calls) == int(arrives))
    await page.reload()
    if not arrives:
        await expect(page.locator("#message")).to_have_value("precious")
        await expect(page.locator(".send")).to_be_enabled()  # the conversation is there
        await page.locator("#message").press("Enter")
    await finished(page)
    await expect(page.locator("#message")).to_have_value("")
    await expect(page.locator(".message.user")).to_have_count(1)


async def test_a_page_that_could_not_load_does_so_on_recovery(
    watch: Watch, world: World, thread: Thread
) -> None:
    watch.allow("503")
    world.be_in("store_unavailable")
    context = await watch.context()
    page = await context.new_page()

    async def refuse(route: Route) -> None:
        await route.fulfill(
            status=503, json={"code": "store_unavailable", "detail": "Redis is away"}
        )

    await page.route("**/api/threads**", refuse)
    await page.goto(f"{watch.url}/t/t1")
    await expect(page.locator(".thread-problem")).to_contain_text("Redis is away")
    await page.unroute("**/api/threads**")
    world.be_in(None)
    await expect(page.locator("h1")).to_have_text("First words")
    await expect(page.locator(".thread")).to_have_count(1)
