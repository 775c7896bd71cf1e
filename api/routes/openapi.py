"""The OpenAPI description: FastAPI knows requests and answers, we add the errors.

Which errors a route can give follows from its scope, its path and its body; a route names others
with ``responses=also(…)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from api.middleware.access import Served
from api.middleware.problems import PROBLEM, OpenAIError, Problem

Json = dict[str, Any]

FOR_ALL = 0
"""Stands for the answer ``default``: any other error."""


def describe_errors(app: FastAPI, served: Sequence[Served]) -> None:
    """Make the app's description tell of errors. It is made when it is first asked for."""
    plain = app.openapi

    def whole() -> Json:
        return app.openapi_schema or with_errors(plain(), served)

    app.openapi = whole


def with_errors(schema: Json, served: Sequence[Served]) -> Json:
    """Add the errors of all routes to a description, in place."""
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which we never send
        schemas.pop(name, None)
    for model in (Problem, OpenAIError):
        made = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(made.pop("$defs", {}))
        schemas[model.__name__] = made
    answers = components.setdefault("responses", {})
    for item in served:
        operation = schema["paths"].get(item.path, {}).get(item.method.lower())
        if operation is None:
            continue
        for status in errors_of(item, operation):
            kind, model = _shape(item.path)
            name = f"{model.__name__}{status or ''}"
            answers.setdefault(name, _answer(status, kind, model))
            key = str(status or "default")
            operation["responses"][key] = {"$ref": f"#/components/responses/{name}"}
    return schema


def errors_of(item: Served, operation: Json) -> list[int]:
    """The statuses of the errors of one route."""
    found = {FOR_ALL}
    if item.scope != "open":
        found |= {401, 403, 503}
    if "{" in item.path:
        found.add(404)
    if "requestBody" in operation:
        found |= {400, 413, 415}
    for status, answer in operation["responses"].items():
        # FastAPI has 422 wherever it checks something; a route's own answers have a content.
        if status == "422" or (status >= "400" and "content" not in answer):
            found.add(int(status))
    return sorted(found)


def _shape(path: str) -> tuple[str, type[BaseModel]]:
    if path.startswith("/v1/"):
        return "application/json", OpenAIError
    return PROBLEM, Problem


def _answer(status: int, kind: str, model: type[BaseModel]) -> Json:
    content = {kind: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    return {
        "description": HTTPStatus(status).phrase if status else "Any other error",
        "content": content,
    }
