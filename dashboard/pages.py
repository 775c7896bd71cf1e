"""Pages and static files. The pages hold no data: their scripts fetch it from the JSON API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.templating import Jinja2Templates
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from core.errors import ConfigError, StoreError
from core.settings.schema import forms as settings_forms
from dashboard.addresses import SET_UP, SIGN_IN, destination, sign_in_address
from dashboard.failures import FAILURES
from dashboard.i18n import COOKIE as LANGUAGE_COOKIE
from dashboard.i18n import Catalogue, choose_language, load_catalogues
from dashboard.security import SecurityHeaders

HERE = Path(__file__).parent
STATIC = HERE / "static"
ICONS = STATIC / "vendor/icons.svg"
FILES = "/static"
OPEN_FILES = (f"{FILES}/",)
"""Where the static files are, for everybody."""

HAND_MADE = frozenset({"model", "cloud", "orchestrator"})
"""Groups of settings with a card of their own in templates/settings.html; others get a plain
one."""

PATIENCE = 2.0
"""Seconds that a stranger waits for the store to say whether there is an administrator."""

THEME_COOKIE = "asst_theme"
THEMES = ("light", "dark")


@dataclass(frozen=True)
class Page:
    """One page: ``templates/<name>.html``, with the text ``<name>.title``, or ``title``, in all
    languages.

    ``guarded`` pages are for people who are signed in. ``menu`` is the page's icon in the menu.
    ``modules`` are patterns of scripts that the browser fetches at once, instead of one import
    after the other. ``values`` are for the template.
    """

    name: str
    paths: tuple[str, ...]
    guarded: bool = True
    menu: str = ""
    modules: tuple[str, ...] = ()
    values: Callable[[], Mapping[str, Any]] = dict
    title: str = ""

    @property
    def text(self) -> str:
        """The key of the text that names the page."""
        return self.title or f"{self.name}.title"


CHAT_MODULES = ("vendor/lit.js", "vendor/md.js", "js/*.js", "js/chat/*.js", "js/markdown/*.js")


def cards() -> Mapping[str, Any]:
    """The groups whose card is made from their fields."""
    shapes = settings_forms().items()
    return {"forms": {group: fields for group, fields in shapes if group not in HAND_MADE}}


def failures() -> Mapping[str, Any]:
    """What helps against each failure of a turn."""
    return {"failures": {code: asdict(failure) for code, failure in FAILURES.items()}}


PAGES = (
    Page("chat", ("/", "/t/{thread_id}"), title="app.name", modules=CHAT_MODULES, values=failures),
    Page("settings", ("/settings",), menu="settings", values=cards),
    Page("login", (SIGN_IN,), guarded=False),
    Page("setup", (SET_UP,), guarded=False),
)


class RevalidatedFiles(StaticFiles):
    """Static files that a browser may keep but must ask about; unchanged ones cost a 304."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


async def always() -> bool:
    """There is an administrator."""
    return True


@dataclass(frozen=True)
class Looks:
    """Templates, languages and icons: what a page is drawn with."""

    templates: Jinja2Templates
    catalogues: Mapping[str, Catalogue]
    icons: str
    """The symbols, as a part of each page: what is fetched when it is needed is not there when the
    network is not."""

    def page(self, request: Request, name: str, *, status: int = 200, **context: Any) -> Response:
        """A page in the visitor's language and theme."""
        catalogue = self.catalogues[_language(request)]
        common = {
            "t": catalogue.text,
            "language": catalogue.language,
            "messages": catalogue.messages,
            "theme": _theme(request),
            "nonce": request.state.nonce,
            "known": _user(request) is not None,
            "icons": self.icons,
        }
        return self.templates.TemplateResponse(
            request, f"{name}.html", common | context, status_code=status
        )

    def away(self, scope: Scope) -> Response:
        """The page for everybody while nobody can be identified. It loads what was wanted again as
        soon as that is possible."""
        response = self.page(Request(scope), "away", status=503)
        response.headers["Retry-After"] = "2"
        return response


def open_looks() -> Looks:
    """Templates, languages and icons as shipped."""
    # Ids of a page are short words as well.
    icons = ICONS.read_text().replace('<symbol id="', '<symbol id="icon-')
    templates = Jinja2Templates(HERE / "templates")
    return Looks(templates, load_catalogues(HERE / "locale"), icons)


def mount_dashboard(
    app: FastAPI, looks: Looks | None = None, *, is_set_up: Callable[[], Awaitable[bool]] = always
) -> None:
    """Add the pages, the static files and the security headers of all answers.

    While ``is_set_up`` says no, strangers are sent to the set-up page: nobody can sign in yet.
    Middleware added later runs outside ours, so call this after adding the rest. Raises ConfigError
    for a broken entry of ``PAGES``.
    """
    app.include_router(pages(looks or open_looks(), PAGES, is_set_up=is_set_up))
    app.mount(FILES, RevalidatedFiles(directory=STATIC), name="static")
    app.add_middleware(SecurityHeaders)


def pages(
    looks: Looks, listed: Sequence[Page], *, is_set_up: Callable[[], Awaitable[bool]] = always
) -> APIRouter:
    """The router of all pages. Guarded ones read ``request.state.user``, which the API sets."""
    router = APIRouter(include_in_schema=False)
    menu = menu_of(listed)
    for page in listed:
        check(page, looks)
        handler = _handler(page, looks, {"modules": modules_of(page), "menu": menu}, is_set_up)
        for path in page.paths:
            router.add_api_route(path, handler, methods=["GET"], name=page.name)
    return router


def check(page: Page, looks: Looks) -> None:
    """Raises ConfigError, with the page's name, when something of it is not there."""
    problem = ""
    if not page.paths:
        problem = "it has no path"
    elif not (HERE / "templates" / f"{page.name}.html").is_file():
        problem = f"there is no dashboard/templates/{page.name}.html"
    for language, catalogue in looks.catalogues.items():
        if not isinstance(catalogue.messages.get(page.text), str):
            problem = problem or f"dashboard/locale/{language}.json has no text {page.text!r}"
    for pattern in page.modules:
        if not any(STATIC.glob(pattern)):
            problem = problem or f"there is no dashboard/static/{pattern}"
    icons = re.findall(r'<symbol id="(\w+)"', ICONS.read_text())
    if page.menu and page.menu not in icons:
        problem = problem or (
            f"there is no icon {page.menu!r} in static/vendor/icons.svg, which has "
            + ", ".join(sorted(icons))
        )
    if problem:
        raise ConfigError(f"the page {page.name!r} cannot be shown: {problem}")


def menu_of(listed: Sequence[Page]) -> list[dict[str, str]]:
    """The entries of the menu, for the scripts."""
    return [
        {"path": page.paths[0], "icon": page.menu, "title": page.text}
        for page in listed
        if page.menu
    ]


def modules_of(page: Page) -> list[str]:
    """Addresses of the scripts to fetch at once."""
    files = [file for pattern in page.modules for file in sorted(STATIC.glob(pattern))]
    return [f"{FILES}/{file.relative_to(STATIC).as_posix()}" for file in files]


def _handler(
    page: Page,
    looks: Looks,
    values: Mapping[str, Any],
    is_set_up: Callable[[], Awaitable[bool]],
) -> Callable[[Request], Awaitable[Response]]:
    context = {**values, **page.values()}

    async def show(request: Request) -> Response:
        known = _user(request) is not None
        inside = page.guarded or SIGN_IN in page.paths
        if inside and not known and not await _or_yes(is_set_up):
            return RedirectResponse(SET_UP, 303)
        if page.guarded and not known:
            there = sign_in_address(request.url.path, request.url.query)
            return RedirectResponse(there, 303)
        if known and SIGN_IN in page.paths:
            return RedirectResponse(destination(request.query_params.get("next", "/")), 303)
        return looks.page(request, page.name, **context)

    return show


async def _or_yes(ask: Callable[[], Awaitable[bool]]) -> bool:
    """The answer; yes while nobody can tell, for the sign-in page says why."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await ask()
    except (StoreError, TimeoutError):
        return True


def _user(request: Request) -> object:
    return getattr(request.state, "user", None)


def _language(request: Request) -> str:
    accept = request.headers.get("accept-language", "")
    return choose_language(request.cookies.get(LANGUAGE_COOKIE), accept)


def _theme(request: Request) -> str:
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else "system"
