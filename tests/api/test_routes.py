"""The list of routes: what is derived from it fits together, and a broken entry stops the start."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.staticfiles import StaticFiles

from api.app import create_app, make_parts, served_pages
from api.auth import make_auth
from api.middleware.access import Access, Scope, Served
from api.middleware.origins import Listening
from api.middleware.problems import WrongMethod
from api.routes.parts import Parts
from api.routes.routes import ROUTES, Subject, install_routes
from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import create_key
from core.accounts.principal import Principal
from core.errors import ConfigError, Forbidden, NotFound
from core.services import open_process
from core.settings.source import load
from dashboard.pages import OPEN_FILES, PAGES
from tests.api.default_deny import assert_default_deny, filled
from tests.style import tree

CHAT_KEY = Principal("somebody", "key", frozenset({"chat"}), "digest")
HERE = "http://127.0.0.1:8080"

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/login"),
    ("GET", "/setup"),
    ("POST", "/api/login"),
    ("POST", "/api/setup"),
}


@dataclass
class Real:
    """The app as it is served, and what is listed."""

    app: FastAPI
    parts: Parts
    served: list[Served]


@pytest.fixture
async def real(redis_url: str, tmp_path: Path) -> AsyncGenerator[Real]:
    loaded = load({"ASSISTANT_HOME": str(tmp_path)})
    async with open_process(loaded, redis_url, role="api") as process:
        parts = make_parts(process, make_auth(process.services.store, process.services.settings))
        app, _ = create_app(process, Listening(8080))
        served = [*install_routes(FastAPI(), ROUTES, parts), *served_pages(PAGES)]
        yield Real(app, parts, served)


async def test_what_is_open_is_open_and_nothing_else(real: Real) -> None:
    assert {(item.method, item.path) for item in real.served if item.scope == "open"} == OPEN
    await assert_default_deny(real.app, real.served)


async def test_a_chat_key_ends_where_its_routes_end(real: Real) -> None:
    access = Access(real.served, OPEN_FILES)
    _, secret = await create_key(real.parts.services.store.redis, FIRST_ACCOUNT, "k", "chat")
    transport = httpx.ASGITransport(real.app, raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(transport=transport, base_url=HERE, headers=headers) as client:
        for item in real.served:
            path = filled(item.path)
            if item.scope == "admin":
                answer = await client.request(item.method, path)
                assert (answer.status_code, answer.json()["code"]) == (403, "scope"), item
            elif item.scope == "chat":
                access.check(CHAT_KEY, method=item.method, path=path)


def documented() -> dict[tuple[str, str], str]:
    """The calls that docs/api.md describes, and who may ask; parameters have no names."""
    page = tree.text(tree.ROOT / "docs" / "api.md")
    table = page.split("## Calls")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([A-Z]+) (/[^ `?]*)[^|]*\| (\w+) \|", table, flags=re.MULTILINE)
    found = {(method, filled(path)): who for method, path, who in rows}
    assert len(found) == table.count("\n| `"), "a call is described twice, or says not who may call"
    return found


async def test_every_route_is_documented_and_every_documented_route_is_there(real: Real) -> None:
    pages = {page for listed in PAGES for page in listed.paths}
    there = {
        (item.method, filled(item.path)): item.scope
        for item in real.served
        if item.path not in pages
    }
    written = documented()
    wrong = sorted(call for call in there.keys() & written if there[call] != written[call])
    assert wrong == [], "docs/api.md names another scope"
    assert sorted(there.keys() - written) == [], "no row in docs/api.md"
    assert sorted(written.keys() - there) == [], "rows in docs/api.md without a route"


async def test_the_description_names_the_errors_of_each_route(real: Real) -> None:
    description = real.app.openapi()
    wanted = {
        ("post", "/api/login"): {"400", "401", "409", "413", "415", "422", "429", "503"},
        ("get", "/api/me"): {"401", "403", "503"},
        ("get", "/api/threads/{thread_id}"): {"401", "403", "404", "422", "503"},
        ("post", "/api/threads/{thread_id}/messages"): {
            "400", "401", "403", "404", "413", "415", "422", "429", "503",
        },
        ("get", "/healthz"): set[str](),
    }  # fmt: skip
    for (method, path), statuses in wanted.items():
        answers = description["paths"][path][method]["responses"]
        assert {status for status in answers if "400" <= status <= "599"} == statuses, path
        assert answers["default"] == {"$ref": "#/components/responses/Problem"}
    parts = description["components"]
    problem = parts["responses"]["Problem429"]
    assert problem["description"] == "Too Many Requests"
    assert problem["content"].keys() == {"application/problem+json"}
    openai = description["paths"]["/v1/chat/completions"]["post"]["responses"]["429"]
    assert openai == {"$ref": "#/components/responses/OpenAIError429"}
    for kind, name in set(re.findall(r"#/components/(\w+)/(\w+)", str(description))):
        assert name in parts[kind], name
    assert "HTTPValidationError" not in str(description)


async def nothing() -> None:
    """A handler."""


def adding(*routes: tuple[str, str]) -> Subject[None]:
    """An entry, of scope chat, with these routes."""
    return entry("things", "chat", *routes)


def entry(name: str, scope: Scope, *routes: tuple[str, str]) -> Subject[None]:
    def add(router: APIRouter, parts: None) -> None:
        for method, path in routes:
            router.add_api_route(path, nothing, methods=[method])

    return Subject(name, add, scope=scope)


def started(*subjects: Subject[None]) -> Access:
    return Access(install_routes(FastAPI(), subjects, None), OPEN_FILES)


def raising(router: APIRouter, parts: None) -> None:
    raise LookupError("no such part")


def mounting(router: APIRouter, parts: None) -> None:
    router.mount("/files", StaticFiles(check_dir=False))


BROKEN = [
    ([Subject("broken", raising, scope="chat")], "the routes 'broken'.*LookupError: no such part"),
    ([Subject("files", mounting, scope="chat")], "the routes 'files'"),
    ([entry("one", "chat", ("GET", "/a")), entry("two", "chat", ("GET", "/a"))], "one.*two"),
    ([adding(("GET", "/a/{x}"), ("GET", "/a/{y}"))], r"GET /a/\{x\} \(things, chat\).*the same"),
    (
        [entry("one", "chat", ("GET", "/a/{x}")), entry("two", "admin", ("GET", "/a/b"))],
        "one.*two.*same scope",
    ),
    (
        [entry("one", "open", ("GET", "/a")), entry("two", "admin", ("HEAD", "/a"))],
        "one.*two.*same scope",
    ),
    ([entry("door", "open", ("GET", "/a/{x}"))], "door.*no parameters"),
    ([adding(("GET", "/a/{x:path}"))], "things.*one segment"),
    ([adding(("GET", "/a/"))], "things.*no slash at its end"),
    ([adding(("GET", "/a//b"))], "things.*one slash"),
    ([adding(("GET", "/static/x"))], "things.*static files"),
]


@pytest.mark.parametrize(("subjects", "message"), BROKEN)
def test_a_broken_entry_stops_the_start_and_is_named(
    subjects: list[Subject[None]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        started(*subjects)


def test_entries_may_share_an_address_with_different_methods() -> None:
    access = started(
        entry("read", "chat", ("GET", "/a/{x}")), entry("write", "admin", ("PUT", "/a/{x}"))
    )
    access.check(CHAT_KEY, method="GET", path="/a/1")
    with pytest.raises(Forbidden):
        access.check(CHAT_KEY, method="PUT", path="/a/1")
    with pytest.raises(WrongMethod) as caught:
        access.check(CHAT_KEY, method="DELETE", path="/a/1")
    assert caught.value.known == ["GET"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/api/a/x/y", NotFound),
        ("/api/a", NotFound),
        ("/api/a//", NotFound),
        ("/api/ab", Forbidden),
        ("/api/a\n", Forbidden),
        ("/api/b", Forbidden),
        ("/api/axc", Forbidden),  # the dot of a path is no pattern
        ("", Forbidden),
    ],
)
def test_a_chat_key_gets_what_its_templates_match(path: str, error: type[Exception]) -> None:
    access = started(adding(("GET", "/api/a/{x}"), ("GET", "/api/a.c")))
    access.check(CHAT_KEY, method="GET", path="/api/a/x")
    access.check(
        CHAT_KEY, method="GET", path="/api/a/x/"
    )  # the router leads on to the address without the slash
    with pytest.raises(error):
        access.check(CHAT_KEY, method="GET", path=path)


def test_open_means_the_exact_address_and_method() -> None:
    access = started(entry("door", "open", ("GET", "/a"), ("POST", "/b")))
    asked = [("GET", "/a"), ("HEAD", "/a"), ("POST", "/b"), ("GET", "/static/x.js")]
    assert all(access.is_open(method, path) for method, path in asked)
    closed = [("POST", "/a"), ("OPTIONS", "/a"), ("GET", "/a/"), ("GET", "//a"), ("GET", "/A")]
    closed += [("GET", "/b"), ("HEAD", "/b"), ("GET", "/static"), ("POST", "/static/x.js")]
    assert not any(access.is_open(method, path) for method, path in closed)
