"""A newcomer's first minutes on the real thing: `up`, the link, a password, a model, a chat."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from api.demo.model import create_demo_app
from tests.browser.conftest import Watch
from tests.browser.fake_state import World
from tests.support.stack import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/setup#(\S+)")


@asynccontextmanager
async def started() -> AsyncGenerator[tuple[str, str]]:
    """`assistant up` on an empty home; yields the address and the set-up token it printed."""
    home = Path(tempfile.mkdtemp(prefix="asst-new-"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "MODEL_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "assistant.py"),
        "up",
        cwd=home,
        env={**environment, "ASSISTANT_HOME": str(home / "data"), "ASSISTANT_PORT": "0"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(40):
            while (found := LINK.search((await process.stdout.readline()).decode())) is None:
                assert not process.stdout.at_eof(), "it ended without a link"
        yield found[1], found[2]
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        shutil.rmtree(home, ignore_errors=True)


@asynccontextmanager
async def scripted_model() -> AsyncGenerator[str]:
    """A model server; yields its base URL."""
    runner = web.AppRunner(create_demo_app(pace=0.0, log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@pytest.mark.timeout(120)
async def test_from_nothing_to_an_answer_with_a_tool(chromium: Browser) -> None:
    async with scripted_model() as model, started() as (url, token):
        watch = Watch(chromium, url, World())
        page = await watch.open("/", signed_in=False)
        await page.wait_for_url("**/setup")
        await expect(page.get_by_label("Set-up token")).to_be_visible()
        await page.goto("about:blank")
        await page.goto(f"{url}/setup#{token}")
        await page.locator("#password").fill("correct horse")
        await page.locator("#repeat").fill("correct horse")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/settings?first=1")
        await page.locator("#model").get_by_label("Server address").fill(model)
        await page.get_by_role("button", name="Test connection").click()
        await expect(page.get_by_text("The model works.")).to_be_visible(timeout=20_000)
        await page.get_by_role("button", name="Save").first.click()
        await expect(page.get_by_text("Saved").first).to_be_visible()

        await page.goto(url)
        await page.get_by_placeholder("Ask anything…").fill("What time is it?")
        await page.keyboard.press("Enter")
        answer = page.locator("article.message.assistant").last
        await expect(answer).to_contain_text("current_time", timeout=20_000)
        await expect(answer).to_contain_text("scripted-demo")

        await page.reload()
        await expect(page.get_by_text("What time is it?").first).to_be_visible()
        await expect(answer).to_contain_text("current_time")
        await expect(answer).to_contain_text("in its own words")
        await watch.close()
