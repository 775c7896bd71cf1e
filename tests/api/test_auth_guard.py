"""The guard: Host, Origin, Sec-Fetch-Site, CORS, and who needs a credential."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import create_key
from core.settings.groups import ServerSettings
from tests.api.default_deny import assert_default_deny
from tests.api.web import HERE, Web, serving

FOREIGN = "http://evil.example"


async def bearer(web: Web, scope: str = "admin") -> dict[str, str]:
    _, secret = await create_key(
        web.store.redis, FIRST_ACCOUNT, "test", "chat" if scope == "chat" else "admin"
    )
    return {"authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080",
        "localhost:8080",
        "LOCALHOST:8080",
        "[::1]:8080",
        "assistant.localhost:8080",
    ],
)
async def test_our_own_names_are_answered(stranger: httpx.AsyncClient, host: str) -> None:
    assert (await stranger.get("/healthz", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8080",
        "evil.example",
        "0.0.0.0:8080",
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost:8081",
        "localhost.:8080",
        "localhost.evil.example:8080",
        "127.0.0.1:8080@evil.example",
        "127.0.0.1:8080, evil.example",
        " ",
        "",
        "::1:8080",
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/", "/login", "/api/me", "/v1/models"])
async def test_dns_rebinding_names_are_misdirected(
    stranger: httpx.AsyncClient, host: str, path: str
) -> None:
    answer = await stranger.get(path, headers={"host": host, "accept": "text/html"})
    assert answer.status_code == 421


async def test_one_host_header_exactly(web: Web) -> None:
    async with serving(web) as port:
        for hosts in ([], [f"127.0.0.1:{port}", "evil.example"], [f"127.0.0.1:{port}"] * 2):
            lines = "".join(f"Host: {host}\r\n" for host in hosts)
            status = await raw_status(port, f"GET /healthz HTTP/1.0\r\n{lines}\r\n")
            assert status in (400, 421), hosts
        good = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        assert await raw_status(port, good) == 200


async def raw_status(port: int, request: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


async def test_the_configured_address_and_extra_names_are_answered(
    web: Web, stranger: httpx.AsyncClient
) -> None:
    server = ServerSettings.model_validate({"host": "192.0.2.7"})
    web.live.current = web.live.current.model_copy(update={"server": server})
    web.live.secure(allowed_hosts=("Home.example", "box.example:9000"))
    for host in ("192.0.2.7:8080", "home.example", "home.example:8080", "box.example:9000"):
        assert (await stranger.get("/healthz", headers={"host": host})).status_code == 200, host
    for host in ("box.example", "home.example:9000"):
        assert (await stranger.get("/healthz", headers={"host": host})).status_code == 421, host


async def test_a_new_port_counts_at_once(web: Web, stranger: httpx.AsyncClient) -> None:
    web.listening.port = 9999
    assert (await stranger.get("/healthz")).status_code == 421
    assert (await stranger.get("/healthz", headers={"host": "localhost:9999"})).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "",
        "http://localhost:3000",
        "http://localhost:8080",  # ours, but not the page at the Host that was asked
        "http://127.0.0.1",
        "ftp://127.0.0.1:8080",
        "http://127.0.0.1:8080.evil.example",
        "http://127.0.0.1:8080/",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/me"), ("POST", "/api/threads"), ("POST", "/api/login"), ("GET", "/v1/models")],
)
async def test_foreign_origins_are_refused(
    browser: httpx.AsyncClient, origin: str, method: str, path: str
) -> None:
    answer = await browser.request(method, path, headers={"origin": origin})
    assert answer.status_code == 403


async def test_two_origins_are_refused(browser: httpx.AsyncClient) -> None:
    headers = [("origin", HERE), ("origin", FOREIGN)]
    assert (await browser.get("/api/me", headers=headers)).status_code == 400


async def test_our_origin_may_change_things(browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/api/threads")).status_code == 200


async def test_an_https_page_behind_a_proxy_is_ours(web: Web, browser: httpx.AsyncClient) -> None:
    web.live.secure(allowed_hosts=("home.example",))
    headers = {"host": "home.example", "origin": "https://home.example"}
    cookie = {"cookie": "; ".join(f"{k}={v}" for k, v in browser.cookies.items())}
    assert (await browser.post("/api/threads", headers=headers | cookie)).status_code == 200
    # Seen with TLS ourselves, the page must be https too.
    async with web.client("https://home.example") as secure:
        http = {"origin": "http://home.example"}
        assert (await secure.post("/api/login", json={}, headers=http)).status_code == 403


async def test_a_change_by_cookie_must_come_from_a_page_of_ours(browser: httpx.AsyncClient) -> None:
    del browser.headers["origin"]
    assert (await browser.post("/api/threads")).status_code == 403
    for site, status in (("same-origin", 200), ("none", 403), ("same-site", 403)):
        headers = {"sec-fetch-site": site}
        assert (await browser.post("/api/threads", headers=headers)).status_code == status, site
    assert (await browser.get("/api/threads")).status_code == 200


FETCHES = [
    # site, mode, dest, method, path, status
    ("same-origin", "cors", "empty", "GET", "/api/threads", 200),
    ("none", "navigate", "document", "GET", "/", 200),
    ("cross-site", "navigate", "document", "GET", "/", 200),
    ("same-site", "navigate", "document", "GET", "/login", 200),
    ("cross-site", "navigate", "iframe", "GET", "/", 403),
    ("cross-site", "navigate", "document", "POST", "/login", 403),
    ("cross-site", "navigate", "document", "GET", "/api/threads", 403),
    ("cross-site", "navigate", "document", "GET", "/v1/models", 403),
    ("cross-site", "no-cors", "script", "GET", "/static/app.js", 403),
    ("cross-site", "no-cors", "image", "GET", "/api/threads", 403),
    ("same-site", "cors", "empty", "GET", "/api/threads", 403),
    ("same-site", "no-cors", "empty", "GET", "/healthz", 403),
    ("something-new", "cors", "empty", "GET", "/api/threads", 403),
    ("", "cors", "empty", "GET", "/api/threads", 403),
]


@pytest.mark.parametrize(("site", "mode", "dest", "method", "path", "status"), FETCHES)
async def test_fetch_metadata(
    browser: httpx.AsyncClient,
    site: str,
    mode: str,
    dest: str,
    method: str,
    path: str,
    status: int,
) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    del browser.headers["origin"]
    answer = await browser.request(method, path, headers=headers)
    assert answer.status_code == status


APP = "http://localhost:3000"
ASK = {"origin": APP, "access-control-request-method": "POST"}


@pytest.mark.parametrize(
    ("path", "origin", "status"),
    [
        ("/v1/models", APP, 204),
        ("/v1/models", "app://notes.example", 204),
        ("/v1/models", FOREIGN, 403),
        ("/v1/models", "null", 403),
        ("/v1x", APP, 403),
        ("/api/threads", APP, 403),
        ("/", APP, 403),
    ],
)
async def test_preflights(
    web: Web, stranger: httpx.AsyncClient, path: str, origin: str, status: int
) -> None:
    web.live.secure(cors_origins=(f"{APP}/", "app://notes.example"))
    answer = await stranger.options(path, headers=ASK | {"origin": origin})
    assert answer.status_code == status
    granted = answer.headers.get("access-control-allow-origin")
    assert granted == (origin if status == 204 else None)
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_preflight_is_granted_what_it_asks_for(
    web: Web, stranger: httpx.AsyncClient
) -> None:
    web.live.secure(cors_origins=(APP,))
    wanted = "authorization,content-type,x-stainless-lang"
    ask = ASK | {
        "access-control-request-headers": wanted,
        "access-control-request-private-network": "true",
    }
    headers = (await stranger.options("/v1/models", headers=ask)).headers
    assert headers["access-control-allow-headers"] == wanted
    assert headers["access-control-allow-private-network"] == "true"
    assert "Origin" in headers["vary"]


async def test_cors_pages_need_a_key_and_may_read_errors(
    web: Web, browser: httpx.AsyncClient
) -> None:
    web.live.secure(cors_origins=(APP,))
    page = {"origin": APP, "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}
    with_key = page | await bearer(web, "chat")
    for headers, status in ((with_key, 200), (page, 401)):  # the browser's cookie does not count
        answer = await browser.get("/v1/models", headers=headers)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == APP
    assert (await browser.get("/api/threads", headers=with_key)).status_code == 403
    web.live.secure()
    assert (await browser.get("/v1/models", headers=with_key)).status_code == 403


async def test_programs_with_a_key_need_no_origin(web: Web, stranger: httpx.AsyncClient) -> None:
    for path in ("/v1/models", "/api/threads", "/api/system"):
        assert (await stranger.get(path, headers=await bearer(web))).status_code == 200
    assert (await stranger.post("/api/threads", headers=await bearer(web))).status_code == 200


async def test_every_route_is_closed_by_default(web: Web) -> None:
    await assert_default_deny(web.app, web.served)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/login", "/static/app.js"])
async def test_open_routes(stranger: httpx.AsyncClient, path: str) -> None:
    assert (await stranger.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/login"),
        ("GET", "/api/login"),
        ("GET", "/static"),
        ("GET", "/staticx"),
        ("POST", "/static/app.js"),
        ("GET", "/login/"),
        ("GET", "//login"),
        ("GET", "/LOGIN"),
        ("GET", "/nowhere"),
        ("OPTIONS", "/api/threads"),
        ("TRACE", "/login"),
    ],
)
async def test_the_open_list_is_exact(stranger: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await stranger.request(method, path)).status_code == 401


async def test_errors_have_the_shape_of_their_readers(stranger: httpx.AsyncClient) -> None:
    api = await stranger.get("/api/me", headers={"accept": "text/html"})
    assert api.status_code == 401
    assert api.headers["content-type"] == "application/problem+json"
    assert api.headers["www-authenticate"].startswith("Bearer")
    assert api.json().keys() == {"type", "title", "status", "code", "detail"}
    openai = await stranger.get("/v1/models")
    assert openai.json()["error"].keys() == {"message", "type", "param", "code"}
    page = await stranger.get("/", headers={"accept": "text/html,*/*"})
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    deeper = await stranger.get("/t/x?a=b", headers={"accept": "text/html,*/*"})
    assert deeper.headers["location"] == "/login?next=%2Ft%2Fx%3Fa%3Db"


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer ak_short",
        "Bearer ak_" + "x" * 43,
        "Bearer " + "x" * 46,
        "Bearer ak_" + "x" * 5000,
        "Basic b3duZXI6b3duZXI=",
        "ak_" + "x" * 43,
        "Bearer é" + "x" * 45,
    ],
)
async def test_wrong_keys(stranger: httpx.AsyncClient, value: str) -> None:
    headers = {b"authorization": value.encode("latin-1")}
    answer = await stranger.request("GET", "/api/me", headers=headers)
    assert answer.status_code == 401


async def test_a_wrong_key_does_not_fall_back_to_the_cookie(browser: httpx.AsyncClient) -> None:
    headers = {"authorization": "Bearer ak_" + "x" * 43}
    assert (await browser.get("/api/me", headers=headers)).status_code == 401


async def test_a_proxys_basic_password_leaves_the_cookie_alone(browser: httpx.AsyncClient) -> None:
    headers = {"authorization": "Basic b3duZXI6b3duZXI="}
    assert (await browser.get("/api/me", headers=headers)).status_code == 200


async def test_giant_requests_are_refused(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/api/" + "x" * 9000)).status_code == 414
    assert (await stranger.get("/api/me", params={"q": "x" * 9000})).status_code == 414
    assert (await stranger.get("/api/me", headers={"x-big": "x" * 40_000})).status_code == 431


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/threads", 200),
        ("POST", "/api/threads", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/api/me", 200),
        ("GET", "/api/system", 403),
        ("GET", "/api/keys", 403),
        ("POST", "/api/keys", 403),
        ("DELETE", "/api/keys/key_x", 403),
        ("GET", "/api/sessions", 403),
        ("GET", "/api/threadsx", 403),
        ("GET", "/", 403),
        ("POST", "/api/approvals/x", 403),
        ("PUT", "/api/settings/model", 403),
        ("GET", "/api/threads/x", 200),
        ("GET", "/api/threads/x%20y", 200),
        ("HEAD", "/api/threads", 405),
        ("OPTIONS", "/api/threads", 405),
        ("DELETE", "/api/threads", 405),
        ("POST", "/api/me", 405),
        ("GET", "/api/threads/", 307),
        ("GET", "/api/me/", 307),
        ("GET", "/api/system/", 403),
        ("GET", "/api/login", 403),
        ("GET", "/api/threads//", 307),
        ("GET", "/api//threads", 403),
        ("GET", "//api/threads", 403),
        ("GET", "/API/threads", 403),
        ("GET", "/api/threads/%2e%2e/system", 404),
        ("GET", "/api/threads/..%2fsystem", 404),
        ("GET", "/api/me%0a", 403),
        ("GET", "/api/threads/x/unlisted", 404),  # there, but in no list
        ("POST", "/v1/embeddings", 404),
    ],
)
async def test_what_a_chat_key_may_use(
    web: Web, stranger: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    headers = await bearer(web, "chat")
    assert (await stranger.request(method, path, headers=headers)).status_code == status


async def test_null_shares_nothing_and_an_empty_name_is_no_host(web: Web) -> None:
    """Both were taken when they stood in the settings."""
    web.live.secure(cors_origins=["null"], allowed_hosts=["", " "])
    async with web.client() as client:
        answer = await client.get("/v1/models", headers={"origin": "null"})
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (403, False)
        nameless = await client.get("/healthz", headers={"host": ""})
        assert nameless.status_code == 421
