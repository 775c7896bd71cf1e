"""Pages and static files. The pages hold no data: their scripts fetch it from the JSON API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.templating import Jinja2Templates
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from core.settings.schema import forms as settings_forms
from dashboard.addresses import destination, sign_in_address
from dashboard.i18n import COOKIE as LANGUAGE_COOKIE
from dashboard.i18n import Catalogue, choose_language, load_catalogues
from dashboard.security import SecurityHeaders

HERE = Path(__file__).parent
HAND_MADE = frozenset({"model", "cloud", "orchestrator"})
"""Groups of settings with a card of their own in templates/settings.html; others get a plain
one."""

THEME_COOKIE = "asst_theme"
THEMES = ("light", "dark")


class RevalidatedFiles(StaticFiles):
    """Static files that a browser may keep but must ask about; unchanged ones cost a 304."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


@dataclass(frozen=True)
class Looks:
    """Templates and languages: what a page is drawn with."""

    templates: Jinja2Templates
    catalogues: Mapping[str, Catalogue]

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
    """Templates and languages as shipped."""
    return Looks(Jinja2Templates(HERE / "templates"), load_catalogues(HERE / "locale"))


def mount_dashboard(app: FastAPI, looks: Looks | None = None) -> None:
    """Add the pages, the static files and the security headers of all answers.

    Middleware added later runs outside ours, so call this after adding the rest.
    """
    static = HERE / "static"
    app.include_router(pages(looks or open_looks(), chat_modules(static)))
    app.mount("/static", RevalidatedFiles(directory=static), name="static")
    app.add_middleware(SecurityHeaders)


def chat_modules(static: Path) -> list[str]:
    """Modules of the chat page, to be fetched at once instead of one import after the other."""
    files = [
        *static.glob("js/*.js"),
        *static.glob("js/chat/*.js"),
        *static.glob("js/markdown/*.js"),
    ]
    own = sorted(f"/static/{file.relative_to(static).as_posix()}" for file in files)
    return ["/static/vendor/lit.js", "/static/vendor/md.js", *own]


def pages(looks: Looks, modules: list[str]) -> APIRouter:
    """The router of all pages. Guarded ones read ``request.state.user``, which the API sets."""
    router = APIRouter(include_in_schema=False)
    page = looks.page
    forms = {group: shapes for group, shapes in settings_forms().items() if group not in HAND_MADE}

    @router.get("/")
    @router.get("/t/{thread_id}")
    async def chat(request: Request) -> Response:
        return _sign_in_first(request) or page(request, "chat", modules=modules)

    @router.get("/settings")
    async def settings(request: Request) -> Response:
        return _sign_in_first(request) or page(request, "settings", forms=forms)

    @router.get("/login")
    async def login(request: Request) -> Response:
        if _user(request):
            return RedirectResponse(destination(request.query_params.get("next", "/")), 303)
        return page(request, "login")

    @router.get("/setup")
    async def setup(request: Request) -> Response:
        return page(request, "setup")

    return router


def _sign_in_first(request: Request) -> Response | None:
    if _user(request):
        return None
    return RedirectResponse(sign_in_address(request.url.path, request.url.query), 303)


def _user(request: Request) -> object:
    return getattr(request.state, "user", None)


def _language(request: Request) -> str:
    accept = request.headers.get("accept-language", "")
    return choose_language(request.cookies.get(LANGUAGE_COOKIE), accept)


def _theme(request: Request) -> str:
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else "system"
