"""A reverse proxy in front: what it says is believed if the operator trusts it, and only then."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.types import Scope

from api.middleware.cookies import COOKIE, SECURE_COOKIE
from api.middleware.proxies import look_through_proxies
from core.errors import ConfigError
from core.settings.source import load
from tests.api.web import PASSWORD, Web

NAME = "home.example"
HTTPS = f"https://{NAME}"
LOGIN = {"password": PASSWORD}


def seen(trusted: tuple[str, ...], client: str, *headers: tuple[str, str]) -> tuple[str, str]:
    """Address and scheme that a request has in the end."""
    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope: Scope = {"type": "http", "scheme": "http", "client": (client, 5), "headers": raw}
    look_through_proxies(scope, trusted)
    return scope["client"][0], scope["scheme"]


FOR, PROTO = "x-forwarded-for", "x-forwarded-proto"


@pytest.mark.parametrize(
    ("trusted", "client", "headers", "expected"),
    [
        ((), "10.0.0.1", [(FOR, "9.9.9.9"), (PROTO, "https")], ("10.0.0.1", "http")),
        (("10.0.0.2",), "10.0.0.1", [(FOR, "9.9.9.9"), (PROTO, "https")], ("10.0.0.1", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [(FOR, "9.9.9.9"), (PROTO, "https")], ("9.9.9.9", "https")),
        (("10.0.0.0/8",), "10.0.0.1", [(FOR, "1.1.1.1, 9.9.9.9")], ("9.9.9.9", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [(FOR, "1.1.1.1"), (FOR, "9.9.9.9")], ("9.9.9.9", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [(FOR, "9.9.9.9, 10.0.0.7")], ("9.9.9.9", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [(FOR, "evil, 10.0.0.7")], ("10.0.0.7", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [(FOR, "evil")], ("10.0.0.1", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [(FOR, "9.9.9.9:4711")], ("9.9.9.9", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [(FOR, "[2001:db8::1]:80")], ("2001:db8::1", "http")),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", [(FOR, "9.9.9.9")], ("9.9.9.9", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [(PROTO, "https, http")], ("10.0.0.1", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [(PROTO, "gopher")], ("10.0.0.1", "http")),
        (("10.0.0.0/8",), "10.0.0.1", [("x-forwarded-host", "evil")], ("10.0.0.1", "http")),
        (("::1",), "::1", [(FOR, ","), (PROTO, "")], ("::1", "http")),
        (("0.0.0.0/0",), "1.1.1.1", [(FOR, "9.9.9.9," * 50)], ("1.1.1.1", "http")),
        (("10.0.0.0/8",), "", [(FOR, "9.9.9.9")], ("", "http")),
    ],
)
def test_who_is_believed(
    trusted: tuple[str, ...],
    client: str,
    headers: list[tuple[str, str]],
    expected: tuple[str, str],
) -> None:
    assert seen(trusted, client, *headers) == expected


async def sign_in(web: Web, client: httpx.AsyncClient, **headers: str) -> str:
    """The Set-Cookie header of a sign-in."""
    answer = await client.post("/api/login", json=LOGIN, headers=headers)
    assert answer.status_code == 204
    return answer.headers["set-cookie"]


async def test_an_https_page_gets_a_secure_cookie_without_any_setting(
    web: Web, browser: httpx.AsyncClient
) -> None:
    """In the recommended set-up a plain http:// address gave the session away for 30 days."""
    web.live.secure(allowed_hosts=[NAME])
    async with web.client(f"http://{NAME}") as behind_tls:  # what we see of it
        cookie = await sign_in(web, behind_tls, origin=HTTPS)
        assert cookie.startswith(f"{SECURE_COOKIE}=")
        assert {"secure", "httponly", "path=/"} <= {p.lower() for p in cookie.split("; ")}
        token = cookie.partition("=")[2].partition(";")[0]
        sent = {"cookie": f"{SECURE_COOKIE}={token}"}
        assert (await behind_tls.get("/api/me", headers=sent)).status_code == 200
        out = await behind_tls.post("/api/logout", headers={**sent, "origin": HTTPS})
        assert out.headers["set-cookie"].startswith(f"{SECURE_COOKIE}=")
        assert "secure" in out.headers["set-cookie"].lower()


async def test_a_trusted_proxy_says_the_scheme_and_the_plain_cookie_counts_no_more(
    web: Web, browser: httpx.AsyncClient
) -> None:
    plain = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    proto = {PROTO: "https"}
    async with web.client() as client:
        assert (await client.get("/api/me", headers={**plain, **proto})).status_code == 200
        web.live.secure(trusted_proxies=["192.0.2.0/24"])
        assert (await client.get("/api/me", headers={**plain, **proto})).status_code == 401
        assert (await client.get("/api/me", headers=plain)).status_code == 200
        cookie = await sign_in(web, client, **proto)
        assert cookie.startswith(f"{SECURE_COOKIE}=")
        foreign = {"origin": "http://127.0.0.1:8080", **proto}
        refused = await client.post("/api/login", json=LOGIN, headers=foreign)
        assert refused.json()["code"] == "wrong_origin", "a plain page is not this https page"


async def test_people_behind_a_trusted_proxy_do_not_share_their_wrong_passwords(
    web: Web, browser: httpx.AsyncClient
) -> None:
    async with web.client() as client:

        async def attempt(address: str, password: str = "wrong password") -> int:
            body, headers = {"password": password}, {FOR: address}
            return (await client.post("/api/login", json=body, headers=headers)).status_code

        web.live.secure(trusted_proxies=["192.0.2.1"], login_per_minute=2)
        found = [await attempt("198.51.100.1") for _ in range(3)]
        assert found == [401, 401, 429]
        assert await attempt("198.51.100.1", PASSWORD) == 429
        assert await attempt("203.0.113.9", PASSWORD) == 204
        sessions = (await browser.get("/api/sessions")).json()["items"]
        assert "203.0.113.9" in [session["address"] for session in sessions]
        web.live.secure(login_per_minute=2)  # nobody is trusted: all have the proxy's address
        found = [await attempt(f"198.51.100.{n}") for n in range(3)]
        assert found == [401, 401, 429]


@pytest.mark.parametrize("value", ["proxy", "10.0.0.0/33", "http://10.0.0.1"])
def test_a_proxy_is_an_address_or_a_network(tmp_path: Any, value: str) -> None:
    env = {"ASSISTANT_HOME": str(tmp_path), "SECURITY_TRUSTED_PROXIES": f"10.0.0.1,{value}"}
    with pytest.raises(ConfigError, match="no IP address and no network"):
        load(env)


def test_a_network_may_be_written_by_any_of_its_addresses(tmp_path: Any) -> None:
    env = {"ASSISTANT_HOME": str(tmp_path), "SECURITY_TRUSTED_PROXIES": "172.18.0.1/16, ::1"}
    security = load(env).settings.security
    assert security.trusted_proxies == ("172.18.0.0/16", "::1/128")
