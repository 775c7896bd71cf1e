"""Sign-in, set-up and settings."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Watch
from tests.browser.fake_state import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


SHOWN = """() => ['model', 'cloud', 'orchestrator'].every(group =>
  performance.getEntriesByName(`${location.origin}/api/settings/${group}`).length)"""
"""The values of the forms have come."""

DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def settings_page(watch: Watch, **options: Any) -> Page:
    """The settings, once the forms show the values: what is typed before that is overwritten."""
    page = await watch.open("/settings", **options)
    await page.wait_for_function(SHOWN)
    await page.evaluate(DRAWN)
    return page


async def test_sign_in(watch: Watch, world: World) -> None:
    watch.allow("401")
    page = await watch.open("/settings", signed_in=False)
    await page.wait_for_url("**/login?next=%2Fsettings")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#password-error")).to_have_text("Enter your password.")
    await page.locator("#password").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.locator("#password-error")).to_have_text("This password is wrong.")
    await expect(page.locator("#password")).to_have_attribute("aria-invalid", "true")
    await page.locator("#password").fill(world.password)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/settings")


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example/", "/\\evil.example", "/%09/evil.example"]
)
async def test_sign_in_leads_to_our_pages_only(watch: Watch, world: World, elsewhere: str) -> None:
    page = await watch.open(f"/login?next={elsewhere}", signed_in=False)
    await page.locator("#password").fill(world.password)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{watch.url}/")


async def test_sign_in_never_takes_a_path_for_a_host(watch: Watch, world: World) -> None:
    watch.allow("404")
    page = await watch.open("/login?next=/..//evil.example/x", signed_in=False)
    await page.locator("#password").fill(world.password)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{watch.url}//evil.example/x")


async def test_who_is_signed_in_goes_straight_to_the_page(watch: Watch, world: World) -> None:
    page = await watch.open("/login?next=%2Fsettings%3Ffirst%3D1")
    assert page.url == f"{watch.url}/settings?first=1"
    await expect(page.locator("#welcome")).to_be_visible()


async def test_set_up(watch: Watch, world: World) -> None:
    page = await watch.open("/setup#token-1", signed_in=False)
    assert page.url.endswith("/setup")
    await expect(page.locator("#token")).not_to_be_visible()
    await page.locator("#password").fill("short")
    await page.get_by_role("button", name="Set up").click()
    await expect(page.locator("#password-error")).to_have_text(
        "The password needs at least 8 characters."
    )
    await page.locator("#password").fill("long enough")
    await page.locator("#repeat").fill("long enouhg")
    await page.keyboard.press("Enter")
    await expect(page.locator("#repeat-error")).to_have_text("The two passwords differ.")
    await page.locator("#repeat").fill("long enough")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/settings?first=1")
    assert world.password == "long enough"
    await expect(page.locator("#welcome")).to_be_visible()
    await expect(page.locator(".server")).to_have_count(2)


async def test_set_up_twice_points_to_sign_in(watch: Watch, world: World) -> None:
    watch.allow("410")
    world.setup_token = ""
    page = await watch.open("/setup", signed_in=False)
    await page.locator("#token").fill("old")
    await page.locator("#password").fill("long enough")
    await page.locator("#repeat").fill("long enough")
    await page.keyboard.press("Enter")
    await expect(page.locator("#form-error")).to_contain_text("set-up is done")
    await expect(page.locator("#done-hint a")).to_have_attribute("href", "/login")


async def test_model_settings(watch: Watch, world: World) -> None:
    watch.allow("422")
    page = await settings_page(watch)
    form = page.locator("#model")
    await form.locator("#base_url").fill("nonsense")
    await form.get_by_role("button", name="Save").click()
    await expect(form.locator("#base_url-error")).to_contain_text("this is not a URL")
    await expect(form.locator("#base_url")).to_be_focused()
    await form.get_by_role("button", name="Find local servers").click()
    await form.get_by_role("button", name="Ollama").click()
    await expect(form.locator("#base_url")).to_have_value("http://127.0.0.1:11434/v1")
    await expect(form.locator("#name")).to_have_value("llama3.2:3b")
    await form.locator("#api_key").fill("secret-9876")
    await form.get_by_role("button", name="Save").click()
    await expect(form.locator(".saved")).to_have_text("Saved. In effect now.")
    await expect(form.locator("#api_key")).to_have_value("")
    await expect(form.locator(".secret-state")).to_contain_text("A key is set.")
    assert "9876" not in await page.content()
    assert world.calls[-1][2]["name"] == "llama3.2:3b"
    await form.get_by_role("button", name="Save").click()
    await expect(form.locator(".saved")).to_have_text("Saved. In effect now.")
    assert world.calls[-1] == ("PUT", "/api/settings/model", {})


@pytest.mark.parametrize(("group", "field"), [("model", "#api_key"), ("cloud", "#cloud_api_key")])
async def test_a_key_is_removed_without_touching_the_rest(
    watch: Watch, world: World, group: str, field: str
) -> None:
    page = await settings_page(watch, width=390)
    form = page.locator(f"#{group}")
    await form.locator(field).fill("secret-1234")
    await form.get_by_role("button", name="Save").click()
    await expect(form.locator(".saved")).to_have_text("Saved. In effect now.")
    assert world.settings[group]["api_key"]["set"]
    address = form.get_by_label("Server address")
    await address.fill("http://half.typed")
    await form.get_by_role("button", name="Remove key").click()
    await expect(form.locator(".saved")).to_have_text("The key is removed.")
    await expect(form.locator(".secret-state")).to_contain_text("No key is set.")
    await expect(form.get_by_role("button", name="Remove key")).not_to_be_visible()
    await expect(form.locator(field)).to_be_focused()
    await expect(address).to_have_value("http://half.typed")
    assert world.calls[-1][:2] == ("PUT", f"/api/settings/{group}")
    assert world.settings[group]["api_key"] == {"set": False, "last4": ""}
    await page.reload()
    await expect(form.locator(".secret-state")).to_contain_text("No key is set.")


async def test_connection_report(watch: Watch, world: World) -> None:
    page = await settings_page(watch)
    await page.locator("#base_url").fill("http://127.0.0.1:1234/v1")
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("#report .steps li")).to_have_count(5)
    await expect(page.locator("#report .bad")).to_contain_text("the chat template knows no tools")
    assert world.calls == [("POST", "/api/model/test", {"base_url": "http://127.0.0.1:1234/v1"})]


async def test_way_of_working_and_profile(watch: Watch, world: World) -> None:
    page = await settings_page(watch)
    working = page.locator("#orchestrator")
    await working.get_by_role("switch").uncheck()
    await working.locator("#max_iterations").fill("7")
    await working.get_by_role("button", name="Save").click()
    await expect(working.locator(".saved")).not_to_be_empty()
    assert world.calls[-1][2] == {"autonomous_mode": False, "max_iterations": 7}
    profile = page.locator("#profile")
    await profile.locator("#profile_name").fill("Ада")
    await profile.locator("#timezone").fill("Europe/Berlin")
    await profile.locator("#profile_language").select_option("ru")
    await profile.get_by_role("button", name="Save").click()
    await expect(profile.locator(".saved")).not_to_be_empty()
    assert world.profile == {"name": "Ада", "time_zone": "Europe/Berlin", "language": "ru"}


async def test_a_group_without_a_card_of_its_own_has_one_all_the_same(
    watch: Watch, world: World
) -> None:
    page = await settings_page(watch)
    access = page.locator("#security")
    await expect(access.get_by_label("Days that a browser")).to_have_value("30")
    await access.get_by_label("More host names").fill("nas.local, ассистент.дом")
    await access.get_by_label("Sign-in attempts").fill("9")
    await access.get_by_role("button", name="Save").click()
    await expect(access.locator(".saved")).to_have_text("Saved. In effect now.")
    hosts = ["nas.local", "ассистент.дом"]
    changes = {"allowed_hosts": hosts, "login_per_minute": 9}
    assert world.calls[-1] == ("PUT", "/api/settings/security", changes)
    await page.reload()
    await expect(access.get_by_label("More host names")).to_have_value(", ".join(hosts))
    await access.get_by_label("Days that a browser").fill("")
    await access.get_by_role("button", name="Save").click()
    await expect(access.locator(".saved")).not_to_be_empty()
    assert world.calls[-1][2] == {"session_days": None}
    # What does nothing yet is not offered.
    await expect(page.locator("#telegram")).to_have_count(0)
    await expect(page.locator("#memory input")).to_have_count(1)


async def test_theme_and_language_are_remembered(watch: Watch) -> None:
    page = await settings_page(watch)
    await page.get_by_role("button", name="Light or dark").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.get_by_role("button", name="Русский").click()
    await expect(page.locator("h1")).to_have_text("Настройки")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.goto(f"{watch.url}/")
    await expect(page.locator("html")).to_have_attribute("lang", "ru")
    await expect(page.get_by_placeholder("Спросите о чём угодно…")).to_be_visible()


async def test_sign_out(watch: Watch) -> None:
    page = await settings_page(watch)
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/login")


LATIN = re.compile(r"[a-z]{3,}(?: [a-z]{2,})+")
"""A run of English words; names of products and units are no run."""


async def test_a_russian_page_has_no_english_sentences(watch: Watch, world: World) -> None:
    watch.allow("422", "429", "401")
    step = {"name": "reach", "ok": False, "detail": "Connect call failed", "code": "unreachable"}
    whole = {"ok": True, "detail": "some english words here"}
    names = ("models", "chat", "streaming", "reasoning", "tools", "json", "context")
    world.report = {
        "model": "qwen3",
        "refused": "The model server cannot be reached. (Connect call failed)",
        "refused_code": "unreachable",
        "steps": [step, *({"name": name, **whole} for name in names)],
        "capabilities": {"context_window": 32768},
    }
    page = await settings_page(watch, locale="ru-RU")
    form = page.locator("#model")
    await form.locator("#base_url").fill("nonsense")
    await form.get_by_role("button", name="Сохранить").click()
    await expect(form.locator("#base_url-error")).to_have_text("Это значение не подходит.")
    await expect(form.locator("#base_url")).to_be_focused()
    await page.get_by_role("button", name="Проверить связь").click()
    await expect(page.locator("#report .steps li")).to_have_count(8)
    await expect(page.locator("#report")).to_contain_text("Сервер модели недоступен.")
    await expect(page.locator("#report")).to_contain_text("32")
    shown = await page.locator("#report").inner_text()
    assert not LATIN.findall(shown), shown
    world.refuse_next = {"status": 429, "code": "inbox_full", "detail": "too many messages wait"}
    await page.goto(f"{watch.url}/")
    await page.locator("#message").fill("привет")
    await page.keyboard.press("Enter")
    problem = page.locator(".composer-problem")
    await expect(problem).to_have_text("В этой беседе ждёт слишком много сообщений.")
