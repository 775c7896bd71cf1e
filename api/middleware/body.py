"""Reading JSON bodies: bounded, strict, and never a 5xx whatever arrives."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from email.message import Message
from itertools import islice
from typing import Any, cast

import orjson
from fastapi import Request, Response
from fastapi.params import Form
from fastapi.routing import APIRoute

from core.errors import AssistantError, Invalid, Malformed, TooLarge

SMALL = 64 * 1024
"""Bytes; enough for every body but messages and uploads."""

MAX_DEPTH = 100
"""Levels of nesting. We write JSON with orjson, which gives up at 254."""

MAX_VALUES = 100_000
"""Values in one body. A value of one byte costs up to 64 when it is read, and far more when each is
found to be wrong; a history of 5,000 messages in parts has 50,000."""

QUOTE = ord('"')

MAX_FIELDS = 1000
"""Fields at the top of a body: each unknown one is an error of its own."""

TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,\[{]', re.DOTALL)
"""A string, or what begins another value. Reads each byte once, also of what is no JSON."""


class UnsupportedMediaType(AssistantError):
    """The body is in a format that this address does not read."""

    code = "unsupported_media_type"
    status = 415


async def read_json(request: Request, limit: int = SMALL) -> dict[str, Any]:
    """The JSON object in the body. Raises UnsupportedMediaType, TooLarge, Malformed, Invalid."""
    check_media_type(request.headers.getlist("content-type"))
    data = parse_json(await read_bytes(request, limit))
    if not isinstance(data, dict):
        raise Invalid("the body is not a JSON object; send {…}")
    fields = cast("dict[str, Any]", data)
    if len(fields) > MAX_FIELDS:
        raise Invalid(f"the body has more than {MAX_FIELDS} fields")
    return fields


async def read_bytes(request: Request, limit: int) -> bytes:
    """The body, of at most ``limit`` bytes. Raises TooLarge as soon as it is known."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > 15 or int(declared) > limit):
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def parse_json(raw: bytes) -> object:
    """Strict JSON in UTF-8: no NaN, no lone surrogates, at most 100 levels and 100,000 values.
    Raises Malformed, TooLarge."""
    if not raw:
        raise Malformed("the body is empty; send a JSON object")
    if _more_values_than(raw, MAX_VALUES):
        raise TooLarge(f"the body has more than {MAX_VALUES:,} values; send less")
    try:
        data: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not valid JSON in UTF-8: {error.msg}") from error
    # Fewer brackets than levels cannot nest too deep: nearly every body is done here.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _deeper_than(data, MAX_DEPTH):
        raise Malformed(f"the JSON is nested deeper than {MAX_DEPTH} levels")
    return data


def check_media_type(values: list[str]) -> None:
    """Raises UnsupportedMediaType unless the one Content-Type is application/json in UTF-8."""
    parsed = Message()
    parsed["content-type"] = values[0] if len(values) == 1 else "text/plain"
    charset = str(parsed.get_param("charset", "utf-8")).lower()
    if parsed.get_content_type() != "application/json" or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("send JSON in UTF-8, with `Content-Type: application/json`")


def json_route(limit: int = SMALL) -> type[APIRoute]:
    """A route class whose pydantic body is read by these rules: ``APIRouter(route_class=…)``.

    FastAPI still sees an ordinary body parameter, so that OpenAPI describes it.
    """

    class JsonRoute(APIRoute):
        """Reads the JSON body before FastAPI does."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            field = self.body_field
            if field is None or isinstance(field.field_info, Form):
                return handle
            needed = field.field_info.is_required()

            async def strict(request: Request) -> Response:
                if not needed and "content-type" not in request.headers:
                    return await handle(request)
                data = await read_json(request, limit)
                return await handle(_ReadRequest(request, data))

            return strict

    return JsonRoute


class _ReadRequest(Request):
    """A request whose body was read already."""

    def __init__(self, request: Request, data: dict[str, Any]) -> None:
        super().__init__(request.scope, request.receive)
        self._body = b"{}"  # not empty: FastAPI asks for json() only then
        self._json = data


def _too_large(limit: int) -> TooLarge:
    size = f"{limit // 1024} KiB" if limit >= 1024 else f"{limit} bytes"
    return TooLarge(f"the body is larger than {size}; send less")


def _more_values_than(raw: bytes, most: int) -> bool:
    """Whether there are more values, without reading them. Long texts with many commas are fine."""
    if sum(map(raw.count, (b",", b"[", b"{"))) <= most:  # nearly every body is done here
        return False
    # A value has at most two strings, its name and itself: with more, this is no JSON.
    tokens = islice(TOKEN.finditer(raw), 3 * most + 3)
    return sum(raw[token.start()] != QUOTE for token in tokens) > most


def _deeper_than(data: object, depth: int) -> bool:
    level: list[object] = [data]
    for _ in range(depth):
        level = [child for value in level for child in _children(value)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    match value:
        case dict():
            values = cast("dict[str, object]", value).values()
        case list():
            values = cast("list[object]", value)
        case _:
            return []
    return [child for child in values if isinstance(child, dict | list)]
