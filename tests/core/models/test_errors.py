"""Errors of model servers, told apart by status and words."""

from __future__ import annotations

import json

import pytest

from core.models.errors import ADVICE, ErrorKind, ModelError, classify, redact


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, '{"error":{"message":"Invalid model key"}}', "auth"),
        (403, "Forbidden", "auth"),
        (404, '{"detail":"Not Found"}', "other"),
        (404, '{"error":"model \\"x\\" not found, try pulling it first"}', "no_model"),
        (400, '{"error":"model is not loaded"}', "no_model"),
        (413, "", "context_overflow"),
        (
            400,
            '{"error":{"message":"prompt is too long: 9 tokens > 8 maximum"}}',
            "context_overflow",
        ),
        (500, '{"error":"no user query found in messages"}', "context_overflow"),
        (500, '{"error":{"message":"tools param requires --jinja flag"}}', "no_tools"),
        (503, "", "busy"),
        (500, '{"error":{"message":"Loading model"}}', "loading"),
        (400, '{"error":"Failed to load model \\"x\\": insufficient memory"}', "other"),
        (502, "<html>Bad Gateway</html>", "unreachable"),
        (504, "", "unreachable"),
        (429, '{"error":{"message":"slow down"}}', "busy"),
        (
            422,
            '{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs"}]}',
            "bad_parameter",
        ),
        (400, '{"error":{"message":"Unsupported value","param":"temperature"}}', "bad_parameter"),
        (400, '{"error":{"message":"Unknown field: parallel_tool_calls"}}', "bad_parameter"),
        (400, '{"error":{"message":"something else","param":"messages"}}', "other"),
        (500, "[1, 2]", "other"),
        (500, "", "other"),
    ],
)
def test_kinds(status: int, body: str, kind: ErrorKind) -> None:
    error = classify(status, body)
    assert error.kind == kind
    assert str(error) == error.detail
    assert f"HTTP {status}" in error.detail


@pytest.mark.parametrize("kind", ADVICE)
def test_each_kind_says_what_to_do(kind: ErrorKind) -> None:
    error = ModelError(kind)
    assert error.detail.endswith(".")
    assert error.code == f"model_{kind}"


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("maximum context length is 4096 tokens. However, you requested 5000", 4096),
        ("n_keep: 13055>= n_ctx: 2048", 2048),
        ("exceeds the available context size (8192 tokens)", 8192),
        ("the request exceeds the available context size", None),
    ],
)
def test_the_limit_is_read(said: str, size: int | None) -> None:
    error = classify(400, json.dumps({"error": {"message": said}}))
    assert (error.kind, error.context_window) == ("context_overflow", size)


def test_long_words_of_a_server_are_shortened() -> None:
    assert len(classify(500, "x" * 100_000).detail) < 500


@pytest.mark.parametrize(
    "text",
    ["key abc-def", "Bearer abcdefgh", "sk-proj-abc123456", "ak_0123456789", "hf_abcdefghij"],
)
def test_keys_are_redacted(text: str) -> None:
    shown = redact(f"bad: {text}.", ("abc-def",))
    assert text.split()[-1] not in shown
