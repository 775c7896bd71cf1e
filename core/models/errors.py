"""What can go wrong with a model server, told apart by the words that servers really use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson

from core.errors import AssistantError
from core.logs import mask

ErrorKind = Literal[
    "unreachable",
    "auth",
    "loading",
    "busy",
    "no_model",
    "no_tools",
    "context_overflow",
    "template",
    "bad_parameter",
    "truncated",
    "stalled",
    "garbage",
    "other",
]

SHOWN = 300
"""Characters of a server's own words that are shown to the user."""

ADVICE: dict[ErrorKind, str] = {
    "unreachable": "The model server cannot be reached. Check that it runs and that "
    "model.base_url is right.",
    "auth": "The model server refuses the key. Check model.api_key.",
    "loading": "The model is still loading. Wait a little and try again.",
    "busy": "The model server is busy with other requests. Wait a little and try again.",
    "no_model": "The model is not there. Load or download it in your model server, or choose "
    "another name.",
    "no_tools": "This model or server cannot use tools. Choose a model with tool support, or "
    "switch tool calls on in the server.",
    "context_overflow": "The conversation is longer than the model's context. Load the model with "
    "a larger context, or begin a new conversation.",
    "template": "The model's chat template refuses this conversation. Update the model or its "
    "template.",
    "bad_parameter": "The model server refuses a parameter of the request.",
    "truncated": "The connection to the model server broke within the answer. Check that the "
    "server still runs and look at its log, then try again.",
    "stalled": "The model stopped sending. Look at the model server's log, then try again.",
    "garbage": "The server's answer is not the OpenAI protocol. Check that model.base_url ends "
    "with /v1.",
    "other": "The model server reports an error. Look at its log, then try again.",
}

RETRYABLE: frozenset[ErrorKind] = frozenset(
    {"unreachable", "loading", "busy", "truncated", "stalled", "garbage", "other"}
)

ABOUT_THE_REQUEST: frozenset[ErrorKind] = frozenset({"no_tools", "template", "bad_parameter"})
NOT_ABOUT_THE_REQUEST = frozenset({402, 404, 405, 407, 410, 421, 426, 451})
"""HTTP statuses that no other form of the request changes."""

OPTIONAL_PARAMETERS = (
    "parallel_tool_calls",
    "max_completion_tokens",
    "response_format",
    "stream_options",
    "reasoning_effort",
    "tool_choice",
    "max_tokens",
    "temperature",
    "top_p",
)
"""Parameters that a request can do without; longer names first, they contain shorter ones."""

CONTEXT = re.compile(
    r"exceeds? the available context|maximum context length|context length of only"
    r"|n_keep: ?\d+ ?>= ?n_ctx|context_length_exceeded|exceed_context_size|context the overflows"
    r"|exceeds? (?:the )?(?:model'?s? )?(?:maximum )?context|input length .{0,300}exceeds"
    r"|input tokens .{0,300}exceeds"
    r"|prompt is too long|too many tokens|no user query found in messages"
    r"|reached context length|context (?:size|length|window) (?:has been |is |was )?exceeded"
    r"|longer than the model'?s context|context length is only",
    re.IGNORECASE,
)
CONTEXT_SIZES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"maximum context length is (\d{1,9})",
        r"context length (?:of|is) only (\d{1,9})",
        r"n_ctx\"?: ?(\d{1,9})",
        r"context (?:size|length|window)[^\d]{0,20}(\d{3,9})",
    )
)
"""Where a server names its limit; the surest words first."""
PROMPT_SIZES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\((\d{1,9}) in the messages",
        r"resulted in (\d{1,9}) tokens",
        r"has (\d{1,9}) input tokens",
        r"keep the first (\d{1,9}) tokens",
        r"n_keep: ?(\d{1,9})",
        r"request \((\d{1,9}) tokens\)",
        r"input \((\d{1,9}) tokens\)",
        r"passed (\d{1,9}) input tokens",
    )
)
"""Where it says how long the refused request was."""
LOADING = re.compile(
    r"\bloading (?:the )?model|model is (?:currently |still )?(?:being loaded|loading)|starting up",
    re.IGNORECASE,
)
FAILED_TO_LOAD = re.compile(
    r"(?:error|failed|failure|unable|could not|cannot) (?:when |while )?(?:to )?load(?:ing)?\b"
    r"|load(?:ing)? (?:of the model )?failed|out of memory|unable to allocate|failed to allocate"
    r"|process has terminated|exited unexpectedly|insufficient (?:memory|system resources)",
    re.IGNORECASE,
)
"""A model that will not be there, however long one waits."""
BUSY = re.compile(
    r"\bbusy\b|overloaded|pending requests|too many (?:concurrent )?requests|rate.?limit"
    r"|no (?:available )?slots?\b|queue is full|at capacity",
    re.IGNORECASE,
)
SPENT = re.compile(r"insufficient_quota|\bquota\b|billing|credit", re.IGNORECASE)
"""A limit that waiting does not help against."""
NO_TOOLS = re.compile(
    r"does not support tools|support parameters: \[[^\]]{0,200}'tools'|tools param requires"
    r"|--enable-auto-tool-choice"
    r"|tool(?: use| calling|s)? (?:is|are) not supported",
    re.IGNORECASE,
)
TEMPLATE = re.compile(
    r"roles must alternate|jinja|system message must be|chat template|only user(?:,| and) assistant"
    r"|system role not supported|raise_exception",
    re.IGNORECASE,
)
NO_MODEL = re.compile(
    r"no models? loaded|model .{0,300}(?:not found|does not exist|not exist)|model_not_found"
    r"|unknown model|model is not loaded|invalid model|model (?:is |was |has been )?unloaded",
    re.IGNORECASE | re.DOTALL,
)
REFUSAL = re.compile(
    r"unsupported|not supported|unrecognized|unknown|not permitted|invalid|must be|not allowed"
    r"|extra inputs|extra fields|does not support|unexpected",
    re.IGNORECASE,
)
REFUSALS = frozenset({400, 415, 422})
"""Statuses of a server that is well and does not take what it was sent."""

SECRET = re.compile(r"(?i)bearer\s+\S+|\b(?:sk|ak|pk|key|hf|gsk|xai)[-_][A-Za-z0-9_*.-]{6,}")
TAGS = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<[^<>]*+>?+", re.IGNORECASE | re.DOTALL)
READ = 16 * 1024
"""Characters of a server's words that are searched; an honest error has a few hundred."""


class ModelError(AssistantError):
    """A model call failed. Where the server said them: ``context_window`` is its limit, and
    ``prompt_tokens`` the length of the request that it refused as too long. ``refused``: it is well
    and does not take these messages, however often they are sent. ``simpler_may_help``: it may take
    another form of the request."""

    code = "model_other"
    status = 502

    def __init__(
        self,
        kind: ErrorKind,
        detail: str = "",
        *,
        context_window: int | None = None,
        prompt_tokens: int | None = None,
        parameter: str | None = None,
        said: str = "",
        refused: bool = False,
        simpler_may_help: bool = False,
    ) -> None:
        super().__init__(detail or ADVICE[kind], code=f"model_{kind}")
        self.kind: ErrorKind = kind
        self.retryable = kind in RETRYABLE
        self.context_window = context_window
        self.prompt_tokens = prompt_tokens
        self.parameter = parameter
        self.said = said
        self.refused = refused
        self.simpler_may_help = simpler_may_help


@dataclass(frozen=True, slots=True)
class Said:
    """A server's error in its own words; ``fields`` are those of its error object."""

    text: str
    fields: dict[str, Any]


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """The text without the given secrets and without anything that looks like a key."""
    return SECRET.sub("***", mask(text, secrets, "***"))


def classify(status: int, body: str, *, secrets: tuple[str, ...] = ()) -> ModelError:
    """The error behind an HTTP status and body, or behind an error object within a stream (status
    200)."""
    said = understand(body)
    code = said.fields.get("code")
    in_stream = status < 400
    if in_stream:
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
    kind = _kind(status, said)
    parameter = _parameter(said) if kind == "bad_parameter" else None
    shown = redact(said.text, secrets)
    too_long = kind == "context_overflow"
    return ModelError(
        kind,
        _detail(kind, status, shown, parameter),
        context_window=_named(said, "n_ctx", CONTEXT_SIZES) if too_long else None,
        prompt_tokens=_named(said, "n_prompt_tokens", PROMPT_SIZES) if too_long else None,
        parameter=parameter,
        said=shown,
        refused=kind == "template" or (kind == "other" and status in REFUSALS),
        simpler_may_help=_may_be_simpler(kind, status, said, in_stream=in_stream),
    )


def understand(body: str) -> Said:
    """Find the message in any of the shapes that servers use: object, string, ``detail``, html,
    text."""
    try:
        data: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Said(" ".join(TAGS.sub(" ", body[: 4 * READ]).split())[:READ], {})
    if not isinstance(data, dict):
        return Said(body[:READ], {})
    fields = cast("dict[str, Any]", data)
    inner: Any = fields.get("error")
    if isinstance(inner, str):
        return Said(inner[:READ], fields)
    if isinstance(inner, dict):
        fields = cast("dict[str, Any]", inner)
    message: Any = fields.get("message") or fields.get("detail") or fields.get("msg")
    if isinstance(message, str):
        return Said(message[:READ], fields)
    return Said(_text(message if message is not None else fields)[:READ], fields)


def _text(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return "an error nested too deeply to be shown"


def _kind(status: int, said: Said) -> ErrorKind:
    code, kind_named = _word(said.fields.get("code")), _word(said.fields.get("type"))
    text = f"{said.text} {code[:SHOWN]} {kind_named[:SHOWN]}"
    by_text: tuple[tuple[re.Pattern[str], ErrorKind], ...] = (
        (CONTEXT, "context_overflow"),
        (NO_TOOLS, "no_tools"),
        (TEMPLATE, "template"),
        (NO_MODEL, "no_model"),
        (FAILED_TO_LOAD, "other"),
        (LOADING, "loading"),
        (SPENT, "other"),
    )
    if status not in (401, 403):
        for pattern, kind in by_text:
            if pattern.search(text):
                return kind
    by_status: dict[int, ErrorKind] = {
        401: "auth",
        403: "auth",
        408: "stalled",
        413: "context_overflow",
        502: "unreachable",
        429: "busy",
        503: "busy",
        529: "busy",
        504: "unreachable",
    }
    if status in by_status:
        return by_status[status]
    if status >= 500 and BUSY.search(text):
        return "busy"
    if status in (400, 422, 500) and _parameter(said) is not None:
        return "bad_parameter"
    return "other"


def _may_be_simpler(kind: ErrorKind, status: int, said: Said, *, in_stream: bool) -> bool:
    if kind in ABOUT_THE_REQUEST:
        return True
    hopeless = FAILED_TO_LOAD.search(said.text) or SPENT.search(said.text)
    if kind != "other" or hopeless:
        return False
    return in_stream or (400 <= status < 500 and status not in NOT_ABOUT_THE_REQUEST)


def _parameter(said: Said) -> str | None:
    """The optional parameter that the error names."""
    named = _word(said.fields.get("param")).split(".")[0]
    if named in OPTIONAL_PARAMETERS:
        return named
    if REFUSAL.search(said.text):
        return next((name for name in OPTIONAL_PARAMETERS if name in said.text), None)
    return None


def _word(value: object) -> str:
    """A name or number; anything else, however deeply nested, is none."""
    if isinstance(value, str):
        return value[:SHOWN]
    return str(value) if isinstance(value, int) and abs(value) < 2**63 else ""


def _named(said: Said, name: str, patterns: tuple[re.Pattern[str], ...]) -> int | None:
    """A number of tokens, from its own field or out of the text."""
    named = said.fields.get(name)
    if isinstance(named, int) and named > 0:
        return named
    matches = (pattern.search(said.text) for pattern in patterns)
    return next((int(match.group(1)) for match in matches if match), None)


def _detail(kind: ErrorKind, status: int, shown: str, parameter: str | None) -> str:
    advice = ADVICE[kind]
    if status == 404 and kind == "other":
        advice = "The server has no such address. Check that model.base_url ends with /v1."
    if parameter:
        advice = f"The model server refuses the parameter {parameter}."
    shown = " ".join(shown.split())
    said = shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"
    return f"{advice} (HTTP {status}: {said})" if said else f"{advice} (HTTP {status})"
