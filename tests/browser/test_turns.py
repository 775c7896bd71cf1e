"""What a user can do about a turn (stop, try again, wait, decide) and what they see of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

import dashboard
from dashboard.failures import FAILURES
from dashboard.i18n import load_catalogues
from tests.browser.actions import answers, finished, last_text, say
from tests.browser.conftest import Watch
from tests.browser.fake_state import Gate, Step, World, answer, failing, text, think

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOCALE = Path(dashboard.__file__).parent / "locale"
FAILURE = failing("unreachable", "The server is away.")
TOOL: Step = (
    "tool_started",
    {"call_id": "c1", "name": "current_time", "arguments": {"zone": "UTC"}},
)


def tool_done(status: str, summary: str) -> Step:
    return ("tool_finished", {"call_id": "c1", "status": status, "summary": summary})


async def test_stop_stays_until_the_server_confirms(watch: Watch, world: World) -> None:
    world.scripts = {"go": [text("Beginning"), Gate("never"), text(" end")]}
    heard = world.gate("cancel heard")
    page = await watch.open()
    await say(page, "go")
    await expect(last_text(page)).to_have_text("Beginning")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("button", name="Stopping…")).to_be_visible()
    heard.set()
    await finished(page)
    await expect(page.locator("button.stop")).to_have_count(0)
    await expect(last_text(page)).to_have_text("Beginning")
    await expect(answers(page).last.locator(".badge")).to_have_text("Stopped")


async def test_stop_while_a_tool_runs(watch: Watch, world: World) -> None:
    world.scripts = {"go": [TOOL, Gate("never")]}
    page = await watch.open()
    await say(page, "go")
    await expect(page.locator(".status")).to_have_text("Calls current_time")
    await page.get_by_role("button", name="Stop").click()
    await finished(page)
    await expect(page.locator(".tool-status")).to_have_text("Outcome unknown")
    assert [path for _, path, _ in world.calls if path.endswith("/cancel")] == [
        "/api/runs/r1/cancel"
    ]


async def test_try_again_after_a_failure(watch: Watch, world: World) -> None:
    world.scripts = {"go": [text("I beg"), FAILURE], "go again": answer("Now it works.")}
    page = await watch.open()
    await say(page, "go")
    await expect(page.locator(".failure")).to_contain_text("The server is away.")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".failure")).to_have_count(0)
    await finished(page)
    await expect(answers(page)).to_have_count(1)
    await expect(last_text(page)).to_have_text("Now it works.")
    await expect(page.locator(".message.user")).to_have_count(1)


async def test_a_good_answer_can_be_tried_again(watch: Watch, world: World) -> None:
    world.scripts = {"go": answer("First."), "go again": [Gate("wait"), *answer("Second.")]}
    page = await watch.open()
    other = await page.context.new_page()
    await say(page, "go")
    await finished(page)
    await other.goto(page.url)
    await expect(last_text(other)).to_have_text("First.")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    await expect(page.locator("#message")).to_be_focused()
    await expect(answers(page)).to_have_count(1)
    world.gate("wait").set()
    for tab in (page, other):
        await expect(last_text(tab)).to_have_text("Second.")
        await finished(tab)
        await expect(answers(tab)).to_have_count(1)
        await expect(tab.locator(".message.user")).to_have_count(1)
        await expect(tab.get_by_role("button", name="Try again")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    await expect(answers(page)).to_have_count(1)


async def test_a_stopped_answer_can_be_tried_again(watch: Watch, world: World) -> None:
    world.scripts = {"go": [text("Begin"), Gate("never")], "go again": answer("Whole.")}
    page = await watch.open()
    await say(page, "go")
    await expect(last_text(page)).to_have_text("Begin")
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_role("button", name="Try again").click()
    await expect(last_text(page)).to_have_text("Whole.")
    await finished(page)
    await expect(answers(page)).to_have_count(1)
    await expect(page.locator(".badge")).to_have_count(0)


async def test_only_the_last_answer_can_be_tried_again(watch: Watch, world: World) -> None:
    world.scripts = {"one": answer("First."), "two": answer("Second.")}
    page = await watch.open()
    for words in ("one", "two"):
        await say(page, words)
        await finished(page)
    await expect(answers(page)).to_have_count(2)
    retry = page.get_by_role("button", name="Try again")
    await expect(retry).to_have_count(1)
    await expect(answers(page).last.locator(".retry")).to_be_visible()


async def test_on_a_phone_enter_is_a_new_line_and_the_button_sends(
    watch: Watch, world: World
) -> None:
    world.scripts = {"one\ntwo": answer("Both.")}
    context = await watch.context(width=390, touch=True)
    page = await context.new_page()
    await page.goto(watch.url)
    await page.locator("#message").fill("one")
    await page.locator("#message").press("Enter")
    await page.keyboard.type("two")
    await expect(page.locator("#message")).to_have_value("one\ntwo")
    await page.get_by_role("button", name="Send").click()
    await expect(last_text(page)).to_have_text("Both.")


async def test_the_keyboard_goes_on_after_stop(watch: Watch, world: World) -> None:
    world.scripts = {"go": [text("Begin"), Gate("never")]}
    page = await watch.open()
    await say(page, "go")
    await page.locator("button.stop").focus()
    await page.keyboard.press("Enter")
    await finished(page)
    await expect(page.locator("#message")).to_be_focused()


async def test_failures_are_told_in_the_language_of_the_page_with_what_helps(
    watch: Watch, world: World
) -> None:
    world.scripts = {code: [failing(code, f"words about {code}")] for code in FAILURES}
    texts = load_catalogues(LOCALE)["ru"]
    page = await watch.open(locale="ru-RU")
    for number, (code, failure) in enumerate(FAILURES.items(), 1):
        await say(page, code)
        await expect(page.locator(".failure")).to_have_count(number)
        card = page.locator(".failure").last
        await expect(card.locator("p").first).to_have_text(texts.text(f"failure.is.{code}"))
        await expect(card.locator("details p")).to_be_visible(visible=failure.words)
        settings = card.get_by_role("link", name="Настройки модели")
        await expect(settings).to_have_count(1 if failure.field else 0)
        restart = card.get_by_role("button", name="Новая беседа")
        await expect(restart).to_have_count(1 if failure.restart else 0)
        await expect(card.get_by_role("button", name="Попробовать снова")).to_be_visible()


async def test_a_refused_key_leads_to_the_field_of_the_key(watch: Watch, world: World) -> None:
    world.scripts = {"go": [failing("auth", "HTTP 401", retryable=False)]}
    page = await watch.open()
    await say(page, "go")
    await page.get_by_role("link", name="Model settings").click()
    await expect(page.locator("#api_key")).to_be_focused()


async def test_a_failure_that_the_page_does_not_know_is_told_in_the_servers_words(
    watch: Watch, world: World
) -> None:
    unknown: Step = ("turn_failed", {"code": "brand_new", "detail": "Moon phase is wrong."})
    world.scripts = {"go": [unknown]}
    page = await watch.open()
    await say(page, "go")
    await expect(page.locator(".failure p")).to_have_text("Moon phase is wrong.")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()


async def test_failure_survives_a_reload_and_can_be_tried_again(watch: Watch, world: World) -> None:
    world.scripts = {"go": [FAILURE], "go again": [Gate("wait"), *answer("Works.")]}
    page = await watch.open()
    await say(page, "go")
    await expect(page.locator(".failure")).to_be_visible()
    await page.reload()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".status-line.busy")).to_be_visible()
    await page.reload()
    world.gate("wait").set()
    await expect(last_text(page)).to_have_text("Works.")
    await finished(page)
    await expect(answers(page)).to_have_count(1)


async def test_messages_wait_in_line(watch: Watch, world: World) -> None:
    world.scripts = {"one": [Gate("one"), *answer("First.")], "two": answer("Second.")}
    page = await watch.open()
    await say(page, "one")
    await expect(page.locator(".dots")).to_be_visible()
    await say(page, "two")
    await expect(page.locator(".message.user").last.locator(".badge")).to_have_text("Waiting")
    world.gate("one").set()
    await expect(last_text(page)).to_have_text("Second.")
    await finished(page)
    shown = await page.locator(".bubble, .markdown").all_inner_texts()
    assert [words.strip() for words in shown] == ["one", "First.", "two", "Second."]
    await expect(page.locator(".badge")).to_have_count(0)


async def test_thinking_folds_away_when_it_ends(watch: Watch, world: World) -> None:
    world.scripts = {
        "go": [think("Let me see. " * 60), Gate("thought"), text("So: "), Gate("end"), *answer("x")]
    }
    page = await watch.open()
    await say(page, "go")
    panel = page.locator(".reasoning-text")
    await expect(panel).to_contain_text("Let me see.")
    box = await panel.bounding_box()
    assert box is not None
    assert box["height"] < 150
    await expect(page.locator(".status")).to_have_text("Thinking…")
    world.gate("thought").set()
    await expect(panel).to_have_count(0)
    toggle = page.get_by_role("button", name="Thought for")
    await toggle.click()
    await expect(panel).to_be_visible()
    world.gate("end").set()
    await finished(page)
    await expect(panel).to_be_visible()


@pytest.mark.parametrize(
    ("status", "word"),
    [("ok", "Done"), ("error", "Failed"), ("refused", "Refused"), ("unknown", "Outcome unknown")],
)
async def test_tool_card_tells_the_real_outcome(
    watch: Watch, world: World, status: str, word: str
) -> None:
    world.scripts = {"go": [TOOL, tool_done(status, "It said so."), *answer("Fine.")]}
    page = await watch.open()
    await say(page, "go")
    await finished(page)
    await expect(page.locator(".tool-status")).to_have_text(word)
    await page.locator(".tool summary").click()
    await expect(page.locator(".tool-body")).to_contain_text('"zone": "UTC"')
    await expect(page.locator(".tool-body")).to_contain_text("It said so.")


async def test_approval_is_asked_and_answered_once(watch: Watch, world: World) -> None:
    asked = {
        "approval_id": "ap1",
        "call_id": "c1",
        "name": "send_mail",
        "arguments": {"to": "a@b.c"},
        "why": "It sends a mail in your name.",
        "expires_at": "2030-01-01T00:00:00Z",
    }
    world.scripts = {"go": [("approval_requested", asked), Gate("approval ap1"), *answer("Sent.")]}
    page = await watch.open()
    await say(page, "go")
    await expect(page.locator(".status")).to_have_text("Needs your approval: send_mail")
    await expect(page.locator(".approval")).to_contain_text("It sends a mail in your name.")
    await page.get_by_role("button", name="Allow once").click()
    await expect(page.locator(".approval-decision")).to_have_text("Allowed once")
    await finished(page)
    decisions = [body for _, path, body in world.calls if path == "/api/approvals/ap1"]
    assert decisions == [{"decision": "once"}]


async def test_notice_that_matters_stays(watch: Watch, world: World) -> None:
    world.scripts = {
        "go": [
            ("notice", {"level": "info", "text": "The model loads."}),
            ("notice", {"level": "warning", "text": "The cloud answered."}),
            Gate("seen"),
            *answer("Hi."),
        ]
    }
    page = await watch.open()
    await say(page, "go")
    await expect(page.locator(".notice")).to_have_count(2)
    world.gate("seen").set()
    await finished(page)
    await expect(page.locator(".notice")).to_have_text(["The cloud answered."])
