"""What a user does on the chat page, and what they see there."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

# Colours come lazily and the copy button is not text, so neither counts as a difference.
NORMAL = """element => {
  const copy = element.cloneNode(true);
  for (const code of copy.querySelectorAll('pre code')) code.textContent = code.textContent;
  return copy.innerHTML.replace(/<!--.*?-->/g, '');
}"""


async def say(page: Page, text: str) -> None:
    """Write a message and send it."""
    await page.locator("#message").fill(text)
    await page.keyboard.press("Enter")


def answers(page: Page) -> Locator:
    """All answers."""
    return page.locator(".message.assistant")


def last_text(page: Page) -> Locator:
    """The text of the last answer."""
    return answers(page).last.locator(".markdown")


async def finished(page: Page) -> None:
    """Wait until no turn runs and the last answer stands."""
    await expect(page.locator(".status-line.busy")).to_have_count(0)
    await expect(answers(page).last.locator(".meta")).to_be_visible()


async def drawn(page: Page) -> str:
    """The last answer as drawn."""
    return await last_text(page).evaluate(NORMAL)
