"""Pages fit a phone, read well with assistive technology, and speak Russian."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.actions import finished, say
from tests.browser.conftest import Watch
from tests.browser.demo import RUSSIAN_ANSWER, TABLE_ANSWER, old_threads
from tests.browser.fake_state import Step, World, answer, failing, think

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = (Path(__file__).parents[1] / "fixtures/vendor/axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN_AXE = """async tags => {
  const { violations } = await axe.run(document, { runOnly: tags, resultTypes: ['violations'] });
  const where = nodes => nodes.map(node => `${node.target} ${node.failureSummary}`).join(' | ');
  return violations.map(violation => `${violation.id}: ${where(violation.nodes)}`);
}"""
OVERFLOW = """() => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  return wide > 0 ? wide : 0;
}"""
EVERYTHING: list[Step] = [
    think("First I look at the clock. "),
    ("tool_started", {"call_id": "c1", "name": "current_time", "arguments": {"zone": "UTC"}}),
    ("tool_finished", {"call_id": "c1", "status": "error", "summary": "no such zone"}),
    ("notice", {"level": "warning", "text": "The cloud answered."}),
    *answer(TABLE_ANSWER, RUSSIAN_ANSWER, f"\n\n{'long' * 60} `{'code' * 60}`\n"),
]
FAILURE = [failing("other", "x" * 200)]


async def violations(page: Page) -> list[str]:
    """What axe finds. It is run past the page's policy, which rightly would not load it."""
    await page.evaluate(f"() => {{ {AXE} }}")
    found: Any = await page.evaluate(RUN_AXE, TAGS)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
async def test_chat_is_accessible_and_fits(
    watch: Watch, world: World, scheme: str, width: int
) -> None:
    world.threads = old_threads()
    world.scripts = {"go": EVERYTHING, "fail": FAILURE}
    locale = "ru-RU" if width == 390 else "en-US"
    page = await watch.open("/t/t1", width=width, scheme=scheme, locale=locale)
    await say(page, "go")
    await finished(page)
    await say(page, "fail")
    await expect(page.locator(".failure")).to_be_visible()
    await page.locator(".tool summary").click()
    assert await violations(page) == []
    assert await page.evaluate(OVERFLOW) == 0
    if width == 390:
        await page.locator(".open-sidebar").click()
        assert await violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/settings?first=1", "/login", "/setup"])
async def test_other_pages_are_accessible_and_fit(watch: Watch, path: str, scheme: str) -> None:
    door = path in ("/login", "/setup")
    page = await watch.open(path, width=390, scheme=scheme, locale="ru-RU", signed_in=not door)
    await expect(page.locator("h1")).to_be_visible()
    if path.startswith("/settings"):
        await expect(page.locator(".server")).to_have_count(2)
        await page.locator("#test").click()
        await expect(page.locator(".steps")).to_be_visible()
    assert await violations(page) == []
    assert await page.evaluate(OVERFLOW) == 0
    await page.set_viewport_size({"width": 320, "height": 700})
    assert await page.evaluate(OVERFLOW) == 0


async def test_russian_counts(watch: Watch) -> None:
    page = await watch.open("/settings", locale="ru-RU")
    counted: Any = await page.evaluate(
        """async () => {
          const { t } = await import('/static/js/i18n.js');
          return [1, 2, 5, 21].map(n => t('model.count', { n }));
        }"""
    )
    assert counted == ["1 модель", "2 модели", "5 моделей", "21 модель"]


async def test_no_message_can_be_typed_into_a_zoom(watch: Watch) -> None:
    page = await watch.open("/", width=390)
    size = await page.locator("#message").evaluate("box => getComputedStyle(box).fontSize")
    assert size == "16px"


ARABIC = "مرحبا API يعمل الآن."
RTL_ANSWER = (
    f"{ARABIC}\n\nPlain English.\n\n- {ARABIC}\n- english\n\n> {ARABIC}\n\n```py\nx = 1\n```\n"
)
SIDE = """element => {
  const range = document.createRange();
  range.selectNodeContents(element);
  const { left, right } = range.getBoundingClientRect();
  const around = element.closest('.markdown, .bubble').getBoundingClientRect();
  return left - around.left > around.right - right ? 'right' : 'left';
}"""


async def test_each_text_goes_its_own_way(watch: Watch, world: World) -> None:
    world.scripts = {ARABIC: answer(RTL_ANSWER)}
    page = await watch.open()
    await page.locator("#message").fill(ARABIC)
    assert await page.locator("#message:dir(rtl)").count() == 1
    await page.keyboard.press("Enter")
    await finished(page)
    sides = {
        ".markdown > .block:nth-child(1) p": "right",
        ".markdown > .block:nth-child(2) p": "left",
        ".markdown li:nth-child(1)": "right",
        ".markdown blockquote p": "right",
        ".markdown pre code": "left",
    }
    for place, side in sides.items():
        assert await page.locator(place).evaluate(SIDE) == side, place
    assert await page.locator(".markdown li:nth-child(2):dir(rtl)").count() == 1
    for place in (".bubble", "h1 bdi", ".thread a"):
        assert await page.locator(f"{place}:dir(rtl)").count() == 1, place
    assert await page.evaluate(OVERFLOW) == 0


async def test_code_is_as_large_as_it_says(watch: Watch, world: World) -> None:
    world.scripts = {"go": answer("Some `code` here.\n\n```py\nx = 1\n```\n")}
    page = await watch.open("/")
    await say(page, "go")
    await finished(page)
    for code in await page.locator(".markdown code").all():
        assert await code.evaluate("code => getComputedStyle(code).fontSize") == "14px"
