"""A browser on the fake API. A foreign request or a policy violation on any page fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.browser.fake_api import COOKIE, create_app
from tests.browser.fake_state import Thread, World

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REPORT_VIOLATIONS = """addEventListener('securitypolicyviolation', e =>
  console.error(`policy: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`));"""


class QuietServer(uvicorn.Server):
    """Leaves the signals of the test process alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


@dataclass
class Watch:
    """Opens pages and collects whatever must not happen on them."""

    browser: Browser
    url: str
    world: World
    contexts: list[BrowserContext] = field(default_factory=list[BrowserContext])
    faults: list[str] = field(default_factory=list[str])
    allowed: list[str] = field(default_factory=list[str])

    def allow(self, *words: str) -> None:
        """Console errors with these words are expected: the browser reports each failed call."""
        self.allowed += words

    async def context(
        self,
        *,
        width: int = 1200,
        scheme: str = "light",
        locale: str = "en-US",
        signed_in: bool = True,
        touch: bool = False,
    ) -> BrowserContext:
        """A browser profile of its own."""
        made = await self.browser.new_context(
            viewport={"width": width, "height": 780},
            color_scheme="dark" if scheme == "dark" else "light",
            locale=locale,
            reduced_motion="reduce",
            has_touch=touch,
            is_mobile=touch,
        )
        made.set_default_timeout(8000)
        await made.add_init_script(REPORT_VIOLATIONS)
        if signed_in:
            await made.add_cookies([{"name": COOKIE, "value": "s1", "url": self.url}])
        made.on("console", self._console)
        made.on("weberror", lambda error: self.faults.append(f"page error: {error.error}"))
        made.on("request", lambda request: self._request(request.url))
        self.contexts.append(made)
        return made

    async def open(
        self,
        path: str = "/",
        *,
        width: int = 1200,
        scheme: str = "light",
        locale: str = "en-US",
        signed_in: bool = True,
    ) -> Page:
        """A page in a profile of its own."""
        made = await self.context(width=width, scheme=scheme, locale=locale, signed_in=signed_in)
        page = await made.new_page()
        await page.goto(self.url + path)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(word in message.text for word in self.allowed):
            self.faults.append(f"console: {message.text}")

    def _request(self, url: str) -> None:
        if not url.startswith((f"{self.url}/", "data:", "blob:")):
            self.faults.append(f"foreign request: {url}")

    async def close(self) -> None:
        """Close all pages, then say what went wrong on them."""
        for context in self.contexts:
            for page in context.pages:
                if await page.evaluate("'__xss' in window"):
                    self.faults.append(f"script of the model ran on {page.url}")
            await context.close()
        assert not self.faults


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncGenerator[Browser]:
    """One browser for all tests of the process."""
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM} on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
def world() -> World:
    """What the fake API holds; change it before or during a test."""
    return World()


@pytest_asyncio.fixture(loop_scope="session")
async def site(world: World) -> AsyncGenerator[str]:
    """The URL of a fresh fake API."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_app(world), log_level="warning", timeout_graceful_shutdown=2)
        server = QuietServer(config)
        task = asyncio.create_task(server.serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task
    for turn in list(world.tasks):
        turn.cancel()


@pytest_asyncio.fixture(loop_scope="session")
async def watch(chromium: Browser, site: str, world: World) -> AsyncGenerator[Watch]:
    """The opener of watched pages."""
    watching = Watch(chromium, site, world)
    yield watching
    await watching.close()


@pytest.fixture
def thread(world: World) -> Thread:
    """An empty thread that exists already."""
    made = Thread("t1", "First words")
    world.threads["t1"] = made
    return made
