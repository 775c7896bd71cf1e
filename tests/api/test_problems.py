"""Errors on the wire."""

from __future__ import annotations

import logging

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from redis.exceptions import ConnectionError as RedisConnectionError

from api.middleware.problems import PROBLEM, install_problems
from core.errors import AssistantError, NotFound, RateLimited, StoreUnavailable


def failing(error: Exception) -> httpx.AsyncClient:
    """A client of an app whose routes raise the error."""
    app = FastAPI(openapi_url=None)
    install_problems(app)

    @app.get("/api/it")
    @app.get("/v1/it")
    async def it() -> None:
        raise error

    assert it
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("error", "status", "code", "retry"),
    [
        (NotFound("no such conversation"), 404, "not_found", None),
        (RateLimited("too fast", retry_after=7, code="slow_down"), 429, "slow_down", "7"),
        (StoreUnavailable("Redis is away"), 503, "store_unavailable", "2"),
        (RedisConnectionError("refused"), 503, "store_unavailable", "2"),
        (AssistantError("something"), 500, "internal", None),
        (HTTPException(409, "already so"), 409, "invalid", None),
        (HTTPException(403), 403, "forbidden", None),
        (HTTPException(503), 503, "internal", None),
    ],
)
async def test_our_errors(error: Exception, status: int, code: str, retry: str | None) -> None:
    async with failing(error) as client:
        answer = await client.get("/api/it")
        openai = await client.get("/v1/it")
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers.get("retry-after") == retry
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["type"] == "about:blank"
    assert body["title"]
    assert openai.json()["error"]["message"] == body["detail"]
    assert openai.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
async def test_openais_error_types(status: int, kind: str) -> None:
    async with failing(HTTPException(status)) as client:
        error = (await client.get("/v1/it")).json()["error"]
    assert error["type"] == kind
    assert error.keys() == {"message", "type", "param", "code"}


async def test_unknown_addresses_and_methods() -> None:
    async with failing(NotFound("")) as client:
        nowhere = await client.get("/api/nowhere")
        wrong = await client.post("/api/it")
        openai = await client.get("/v1/nowhere")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET"
    assert openai.json()["error"]["code"] == "not_found"


async def test_a_fault_of_ours_has_a_number_and_its_traceback_only_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        async with failing(ZeroDivisionError("s3cret cause")) as client:
            answer = await client.get("/api/it")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "s3cret" not in answer.text
    number = answer.json()["detail"].rpartition(" ")[2]
    assert number in caplog.text
    assert "ZeroDivisionError: s3cret cause" in caplog.text
