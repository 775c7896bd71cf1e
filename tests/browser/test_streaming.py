"""Answers arrive piece by piece, whatever happens to the connection."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.actions import answers, drawn, finished, last_text, say
from tests.browser.conftest import Watch
from tests.browser.demo import RUSSIAN_ANSWER, TABLE_ANSWER
from tests.browser.fake_state import Gate, Step, Thread, World, answer, text, think

pytestmark = pytest.mark.asyncio(loop_scope="session")


def pieces(words: str, size: int) -> list[str]:
    return [words[i : i + size] for i in range(0, len(words), size)]


def with_gate(words: str, size: int = 5) -> list[Step]:
    """The first half, then a gate, then the rest."""
    steps = [text(piece) for piece in pieces(words, size)]
    half = len(steps) // 2
    return [*steps[:half], Gate("half"), *steps[half:], ("message_completed", {"text": words})]


async def test_streamed_answer_equals_the_stored_one(watch: Watch, world: World) -> None:
    world.scripts = {"go": answer(*pieces(TABLE_ANSWER * 4 + RUSSIAN_ANSWER, 4))}
    page = await watch.open()
    await say(page, "go")
    await finished(page)
    streamed = await drawn(page)
    await page.reload()
    await finished(page)
    assert await drawn(page) == streamed
    assert "Напомнить" in streamed
    assert streamed.count("<table>") == 5


async def test_label_names_model_and_tokens(watch: Watch, world: World) -> None:
    world.scripts = {"go": answer("Hi.")}
    page = await watch.open()
    await say(page, "go")
    await expect(page.locator(".model")).to_have_text("scripted demo model1,055 tokens")


async def test_reload_in_the_middle(watch: Watch, world: World) -> None:
    world.scripts = {"go": with_gate(TABLE_ANSWER)}
    page = await watch.open()
    await say(page, "go")
    await expect(last_text(page)).to_contain_text("Encrypted cloud copy")
    await page.reload()
    await expect(last_text(page)).to_contain_text("Encrypted cloud copy")
    await expect(answers(page)).to_have_count(1)
    await expect(page.locator(".message.user")).to_have_count(1)
    world.gate("half").set()
    await finished(page)
    live = await drawn(page)
    await page.reload()
    await finished(page)
    assert await drawn(page) == live


async def test_cut_connections_double_nothing(watch: Watch, world: World) -> None:
    watch.allow("ERR_INCOMPLETE_CHUNKED_ENCODING")
    world.cut_after = 40
    world.scripts = {"go": answer(*pieces(TABLE_ANSWER, 8))}
    page = await watch.open()
    await say(page, "go")
    await finished(page)
    cut = await drawn(page)
    assert world.connections >= 3
    await page.reload()
    await finished(page)
    assert await drawn(page) == cut


async def test_question_and_answer_show_in_a_second_tab(
    watch: Watch, world: World, thread: Thread
) -> None:
    world.scripts = {"go": with_gate("One two three four five.")}
    first = await watch.open(f"/t/{thread.id}")
    second = await first.context.new_page()
    await second.goto(first.url)
    await expect(second.locator("h1")).to_have_text("First words")
    await say(first, "go")
    await expect(second.locator(".message.user")).to_contain_text("go")
    await expect(last_text(second)).to_contain_text("One two")
    world.gate("half").set()
    await finished(second)
    await expect(last_text(second)).to_have_text("One two three four five.")
    await finished(first)
    assert await drawn(first) == await drawn(second)


async def test_new_attempt_replaces_what_was_shown(watch: Watch, world: World) -> None:
    broken = [think("hm"), text("A first try that"), Gate("crash")]
    world.scripts = {"go": [*broken, ("turn_started", {"attempt": 2}), *answer("Second try.")]}
    page = await watch.open()
    await say(page, "go")
    await expect(last_text(page)).to_have_text("A first try that")
    world.gate("crash").set()
    await finished(page)
    await expect(answers(page)).to_have_count(1)
    await expect(last_text(page)).to_have_text("Second try.")


async def test_better_version_replaces_the_graded_one(watch: Watch, world: World) -> None:
    world.scripts = {"go": [*answer("Draft."), *answer("Better.")]}
    page = await watch.open()
    await say(page, "go")
    await finished(page)
    await expect(last_text(page)).to_have_text("Better.")


async def test_reconnecting_is_said_and_taken_back(
    watch: Watch, world: World, thread: Thread
) -> None:
    watch.allow("ERR_FAILED", "ERR_INCOMPLETE_CHUNKED_ENCODING")
    world.scripts = {"go": answer("All there.")}
    page = await watch.open(f"/t/{thread.id}")
    await expect(page.locator("h1")).to_have_text("First words")
    await page.route("**/events*", lambda route: route.abort())
    world.cut_after = 1
    await say(page, "go")
    await expect(page.locator(".connection")).to_have_text("Reconnecting…")
    world.cut_after = 0
    await page.unroute("**/events*")
    await page.evaluate("dispatchEvent(new Event('online'))")
    await expect(page.locator(".connection")).to_have_count(0)
    await finished(page)
    await expect(last_text(page)).to_have_text("All there.")


async def test_2000_tokens_equal_their_stored_rendering(watch: Watch, world: World) -> None:
    words = (TABLE_ANSWER + RUSSIAN_ANSWER) * 6
    cut = pieces(words, max(len(words) // 2000, 1))
    assert len(cut) >= 2000
    world.scripts = {"go": answer(*cut)}
    page = await watch.open()
    await say(page, "go")
    await finished(page)
    shown = await drawn(page)
    whole = await page.evaluate(
        """async words => {
          const { MarkdownView } = await import('/static/js/markdown/view.js');
          const root = document.createElement('div');
          new MarkdownView(root).set(words);
          return root.innerHTML;
        }""",
        words,
    )
    assert shown == whole
