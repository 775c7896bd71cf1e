"""The pages: who gets them, with which headers, and that everything they name is there."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

import dashboard
from core.errors import ConfigError, StoreUnavailable
from dashboard.addresses import destination, sign_in_address
from dashboard.pages import PAGES, Page, mount_dashboard, open_looks, pages

STATIC = Path(dashboard.__file__).parent / "static"
TEMPLATES = Path(dashboard.__file__).parent / "templates"
PATHS = [path.format(thread_id="t1") for page in PAGES for path in page.paths]


class SignedIn:
    """Stands for the API's guard: the header ``x-user`` is the user."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            user = dict(scope["headers"]).get(b"x-user", b"").decode() or None
            scope.setdefault("state", {})["user"] = user
        await self.app(scope, receive, send)


def make_app() -> FastAPI:
    app = FastAPI()

    async def data() -> dict[str, str]:
        return {}

    async def stream() -> StreamingResponse:
        own = {"Cache-Control": "no-cache"}
        return StreamingResponse(iter(["data: 1\n\n"]), media_type="text/event-stream", headers=own)

    async def words() -> PlainTextResponse:
        return PlainTextResponse("x")

    app.get("/api/data")(data)
    app.get("/api/stream")(stream)
    app.get("/api/words")(words)
    app.add_middleware(SignedIn)
    mount_dashboard(app)
    return app


@pytest.fixture
async def client() -> AsyncGenerator[httpx.AsyncClient]:
    """A signed-in browser, more or less."""
    transport = httpx.ASGITransport(make_app())
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers={"x-user": "owner"}
    ) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", "/login"),
        ("/t/t1", "/login?next=%2Ft%2Ft1"),
        ("/settings", "/login?next=%2Fsettings"),
        ("/settings?first=1", "/login?next=%2Fsettings%3Ffirst%3D1"),
    ],
)
async def test_strangers_are_sent_to_sign_in(
    client: httpx.AsyncClient, path: str, target: str
) -> None:
    answer = await client.get(path, headers={"x-user": ""})
    assert answer.status_code == 303
    assert answer.headers["location"] == target


@pytest.mark.parametrize("path", ["/", "/t/t1", "/settings", "/login", "/login?next=%2Ft%2Ft1"])
async def test_before_the_set_up_every_way_leads_to_it(path: str) -> None:
    answers = iter((False, True))

    async def is_set_up() -> bool:
        return next(answers)

    app = FastAPI()
    mount_dashboard(app, is_set_up=is_set_up)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        before = await client.get(path)
        assert (before.status_code, before.headers["location"]) == (303, "/setup")
        assert (await client.get("/setup")).status_code == 200
        after = await client.get(path)
        assert after.headers.get("location", "/login").startswith("/login")


async def test_a_store_that_is_away_leads_to_sign_in() -> None:
    async def is_set_up() -> bool:
        raise StoreUnavailable("Redis does not answer")

    app = FastAPI()
    mount_dashboard(app, is_set_up=is_set_up)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/")).headers["location"] == "/login"
        assert (await client.get("/login")).status_code == 200


async def test_who_is_signed_in_needs_no_login_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/login")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_the_page_for_an_outage_loads_again_and_keeps_the_policy() -> None:
    looks = open_looks()
    app = FastAPI()

    class Away:
        """Stands for the guard while Redis is away."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await (looks.away(scope) if scope["path"] == "/t/t1" else self.app)(
                scope, receive, send
            )

    app.add_middleware(Away)
    mount_dashboard(app, looks)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        page = await client.get("/t/t1", headers={"accept-language": "ru"})
        assert (page.status_code, page.headers["retry-after"]) == (503, "2")
        assert page.headers["cache-control"] == "no-store"
        assert "require-trusted-types-for" in page.headers["content-security-policy"]
        assert "/static/js/pages/away.js" in page.text
        assert "Минуту" in page.text


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/settings?first=1", "/settings?first=1"),
        ("/t/t_abc#end", "/t/t_abc#end"),
        ("/login?next=%2Flogin", "/"),
        ("/login", "/"),
        ("//evil.example", "/"),
        ("///evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\r\n/evil.example", "/"),
        (" //evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("settings", "/"),
        ("/вечер", "/"),
        ("", "/"),
    ],
)
async def test_who_is_signed_in_goes_on_to_pages_of_ours_only(
    client: httpx.AsyncClient, wanted: str, target: str
) -> None:
    answer = await client.get("/login", params={"next": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, target)


@pytest.mark.parametrize(
    ("path", "query"), [("/settings", "first=1"), ("/t/t_a b", ""), ("/", "x=//y"), ("//e", "")]
)
def test_sign_in_leads_back_to_where_it_came_from(path: str, query: str) -> None:
    there = urlsplit(sign_in_address(path, query))
    (wanted,) = parse_qs(there.query)["next"]
    whole = f"{quote(path)}?{query}" if query else quote(path)
    assert (there.netloc, there.path, wanted) == ("", "/login", whole)
    assert destination(wanted) == ("/" if path == "//e" else wanted)


@pytest.mark.parametrize("path", PATHS)
async def test_strict_policy_with_a_fresh_nonce(client: httpx.AsyncClient, path: str) -> None:
    headers = {"x-user": "" if path in ("/login", "/setup") else "owner"}
    pages = [await client.get(path, headers=headers) for _ in range(2)]
    nonces: set[str] = set()
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "*" not in policy
        for directive in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
            assert directive in policy
        assert "require-trusted-types-for 'script'; trusted-types lit-html dompurify" in policy
        found = re.search(r"'nonce-([^']+)'", policy)
        assert found is not None
        nonces.add(found[1])
        assert set(re.findall(r'nonce="([^"]+)"', page.text)) == {found[1]}
        assert page.headers["cache-control"] == "no-store"
    assert len(nonces) == 2


@pytest.mark.parametrize("path", ["/", "/api/data", "/api/words", "/static/icon.svg", "/nothing"])
async def test_every_answer_is_hardened(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-dns-prefetch-control"] == "off"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "default-src 'none'" in headers["content-security-policy"]


async def test_who_may_keep_what(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/data")).headers["cache-control"] == "no-store"
    assert (await client.get("/api/stream")).headers["cache-control"] == "no-cache"
    first = await client.get("/static/js/api.js")
    assert first.headers["cache-control"] == "no-cache"
    again = await client.get("/static/js/api.js", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304


async def test_theme_and_language_come_from_cookies(client: httpx.AsyncClient) -> None:
    plain = await client.get("/settings", headers={"accept-language": "de, ru;q=0.7, en;q=0.3"})
    assert '<html lang="ru" data-theme="system">' in plain.text
    cookies = {"cookie": "asst_theme=dark; asst_lang=en"}
    chosen = await client.get("/settings", headers={"accept-language": "ru", **cookies})
    assert '<html lang="en" data-theme="dark">' in chosen.text
    odd = await client.get("/settings", headers={"cookie": 'asst_theme="><script>; asst_lang=xx'})
    assert '<html lang="en" data-theme="system">' in odd.text


def urls_named() -> set[str]:
    """All addresses below /static/ in templates, scripts and sheets, modules' imports included."""
    found: set[str] = set()
    for file in (*TEMPLATES.glob("*.html"), *STATIC.rglob("*.js"), *STATIC.rglob("*.webmanifest")):
        if "vendor" in file.parts:
            continue
        words = file.read_text()
        found |= {url for url in re.findall(r"/static/[\w./-]+\.\w+", words)}
        for target in re.findall(r"""(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]""", words):
            path = (file.parent / target).resolve().relative_to(STATIC.resolve())
            found.add(f"/static/{path.as_posix()}")
    return found


async def test_everything_named_is_shipped(client: httpx.AsyncClient) -> None:
    named = urls_named() | set(
        re.findall(r'(?:href|src)="(/static/[^"#]+)', (await client.get("/")).text)
    )
    assert len(named) > 30
    for url in sorted(named):
        assert (await client.get(url)).status_code == 200, url


def test_every_icon_named_is_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="(\w+)"', (STATIC / "vendor/icons.svg").read_text()))
    own = [file for file in STATIC.rglob("*.js") if "vendor" not in file.parts]
    texts = [file.read_text() for file in (*own, *TEMPLATES.glob("*.html"))]
    named = {name for words in texts for name in re.findall(r"\bicon\(['\"](\w+)['\"]\)", words)}
    assert len(named) > 15
    assert named <= drawn


@pytest.mark.parametrize("path", PATHS)
async def test_icons_are_a_part_of_the_page(client: httpx.AsyncClient, path: str) -> None:
    headers = {"x-user": "" if path in ("/login", "/setup") else "owner"}
    page = (await client.get(path, headers=headers)).text
    drawn = set(re.findall(r'<symbol id="([\w-]+)"', page))
    used = set(re.findall(r'<use href="#([\w-]+)"', page))
    assert len(drawn) > 15
    assert used <= drawn
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "an icon has the id of something else"
    assert "icons.svg" not in page


def test_nothing_inline() -> None:
    for file in TEMPLATES.glob("*.html"):
        words = file.read_text()
        assert not re.search(r"\s(on\w+|style)\s*=", words), file.name
        assert "<style" not in words, file.name
        for script in re.findall(r"<script[^>]*>", words):
            assert 'type="application/json"' in script or 'nonce="{{ nonce }}"' in script, script


def test_own_scripts_are_small_and_never_write_raw_html() -> None:
    for file in (STATIC / "js").rglob("*.js"):
        words = file.read_text()
        assert len(words.splitlines()) <= 400, file.name
        assert "unsafeHTML" not in words, file.name
        if file.parent.name != "markdown":
            assert "innerHTML" not in words, file.name


BROKEN = [
    (Page("nowhere", ("/nowhere",)), "'nowhere'.*templates/nowhere.html"),
    (Page("base", ("/base",)), "'base'.*en.json has no text 'base.title'"),
    (Page("login", ("/x",), menu="pterodactyl"), "'login'.*no icon 'pterodactyl'"),
    (Page("login", ("/x",), modules=("js/nothing/*.js",)), "'login'.*static/js/nothing"),
    (Page("login", ()), "'login'.*no path"),
]


@pytest.mark.parametrize(("page", "message"), BROKEN)
def test_a_page_that_lacks_something_stops_the_start_by_name(page: Page, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pages(open_looks(), [*PAGES, page])


async def test_menu_and_modules_follow_from_the_list(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    found = re.search(r'<script type="application/json" id="menu">(.*?)</script>', page)
    assert found is not None
    menu = json.loads(found[1])
    assert {"path": "/settings", "icon": "settings", "title": "settings.title"} in menu
    assert len(menu) == len([page for page in PAGES if page.menu])
    modules = re.findall(r'<link rel="modulepreload" href="([^"]+)"', page)
    assert modules[:2] == ["/static/vendor/lit.js", "/static/vendor/md.js"]
    assert {"/static/js/chat/ai-chat.js", "/static/js/api.js"} <= set(modules)
    assert "modulepreload" not in (await client.get("/settings")).text
