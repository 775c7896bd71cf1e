"""Errors on the wire: RFC 9457 problems for /api and pages, OpenAI's shape for /v1."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from core.errors import AssistantError, RateLimited
from core.store.errors import translate

PROBLEM = "application/problem+json"

CODES = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "rate_limited",
}

SHOWN = 100
"""Characters of the name of a field that an error repeats."""

NOTHING_HERE = "there is nothing at this address"

DETAILS = {
    404: NOTHING_HERE,
    405: "this address does not know this method; the Allow header lists the ones it knows",
}
"""For Starlette's own errors, which repeat the status in words and nothing more."""

OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

logger = logging.getLogger(__name__)


class WrongMethod(AssistantError):
    """The address does not know this method; ``known`` lists those that it knows."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__(DETAILS[405])
        self.known = sorted(known)


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    problem: str


class Problem(BaseModel):
    """RFC 9457; ``code`` is stable, ``detail`` says what to do."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] = []


class OpenAIProblem(BaseModel):
    """The inside of OpenAI's error shape."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """OpenAI's error shape."""

    error: OpenAIProblem


def problem(
    path: str,
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    fields: Sequence[dict[str, str]] = (),
) -> Response:
    """The answer for an error, in the shape that clients of ``path`` expect."""
    openai = path == "/v1" or path.startswith("/v1/")
    body = (
        _openai(status, code, detail, fields) if openai else _rfc9457(status, code, detail, fields)
    )
    kind = "application/json" if openai else PROBLEM
    return Response(
        orjson.dumps(body),
        status_code=status,
        headers={"cache-control": "no-store", **(headers or {})},
        media_type=kind,
    )


def from_error(path: str, error: AssistantError) -> Response:
    """The answer for one of our own errors."""
    headers: dict[str, str] = {}
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(max(1, error.retry_after))
    elif isinstance(error, WrongMethod):
        headers["allow"] = ", ".join(error.known)
    elif error.status == 503:
        headers["retry-after"] = "2"
    elif error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="assistant"'
    if error.status >= 500:
        logger.warning("%s answered %d: %s", path, error.status, error.detail)
    return problem(path, error.status, error.code, error.detail, headers=headers)


def also(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses=`` of a route: errors that do not follow from its scope, path and body."""
    return {status: {"description": HTTPStatus(status).phrase} for status in statuses}


def install_problems(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""
    app.add_exception_handler(AssistantError, _on_assistant_error)
    app.add_exception_handler(RedisError, _on_redis_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unexpected)


def in_words(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Pydantic's errors as ``{field, problem}``, without the values, which may be secret."""
    return [{"field": _field(error["loc"]), "problem": _sentence(error)} for error in errors]


def _field(location: Sequence[str | int]) -> str:
    parts = [str(part)[:SHOWN] for part in location]
    if len(parts) > 1 and parts[0] in ("body", "query", "path", "header", "cookie"):
        parts = parts[1:]
    return ".".join(parts)


def _sentence(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known here"
        case _:
            text = str(error["msg"]).removeprefix("Value error, ")
            return text[:1].lower() + text[1:]


def _rfc9457(
    status: int, code: str, detail: str, fields: Sequence[dict[str, str]]
) -> dict[str, object]:
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if fields:
        body["errors"] = list(fields)
    return body


def _openai(
    status: int, code: str, detail: str, fields: Sequence[dict[str, str]]
) -> dict[str, object]:
    kind = OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    param = fields[0]["field"] if fields else None
    return {"error": {"message": detail, "type": kind, "param": param, "code": code}}


async def _on_assistant_error(request: Request, error: Exception) -> Response:
    return from_error(request.url.path, cast("AssistantError", error))


async def _on_redis_error(request: Request, error: Exception) -> Response:
    return from_error(request.url.path, translate(error))


async def _on_invalid(request: Request, error: Exception) -> Response:
    fields = in_words(cast("RequestValidationError", error).errors()[:20])
    detail = "; ".join(f"{item['field']}: {item['problem']}" for item in fields[:5])
    return problem(request.url.path, 422, "invalid", detail, fields=fields)


async def _on_http_error(request: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    status = known.status_code
    if status < 400 or status in (204, 304):
        return Response(status_code=status, headers=known.headers)
    plain = known.detail == HTTPStatus(status).phrase
    detail = DETAILS.get(status, known.detail) if plain else known.detail
    code = CODES.get(status, "internal" if status >= 500 else "invalid")
    headers = {name.lower(): value for name, value in (known.headers or {}).items()}
    if status == 405:
        headers["allow"] = ", ".join(sorted(_methods_at(request)))
    return problem(request.url.path, status, code, str(detail), headers=headers)


def _methods_at(request: Request) -> set[str]:
    """All methods of an address; Starlette names those of the first route with that path only."""
    found: set[str] = set()
    for route in iter_route_contexts(cast("FastAPI", request.app).routes):
        regex = cast("re.Pattern[str] | None", getattr(route, "path_regex", None))
        if regex is not None and regex.match(request.url.path):
            found |= route.methods or set()
    return found


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return problem(request.url.path, 400, "malformed", "the request ended before its body did")


async def _on_unexpected(request: Request, error: Exception) -> Response:
    error_id = secrets.token_hex(4)
    logger.error("error %s at %s", error_id, request.url.path, exc_info=error)
    detail = f"this is a fault of ours; the log has it under {error_id}"
    return problem(request.url.path, 500, "internal", detail)
