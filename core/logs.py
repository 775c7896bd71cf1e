"""Logging for all processes: one handler, redaction after everything is rendered."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

from core.settings.groups import LogSettings

PATTERN = re.compile(
    r"(?P<telegram>(?<!\d)\d{6,12}:[A-Za-z0-9_-]{30,})"
    r"|(?P<key>\b(?:(?:sk|rk|pk|ak|ghp|gho|github_pat|xox[abp])[-_][A-Za-z0-9_-]{8,}"
    r"|AKIA[A-Z0-9]{16}))"
    r"|(?P<jwt>(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]++\.[A-Za-z0-9_-]{8,}+\.)"
    # The look ahead goes through a run of letters once; only a run of three parts is searched.
    r"[A-Za-z0-9_-]*?\beyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+)"
    r"|(?P<url>://[^/\s:@]*:)[^@\s/]+(?=@)"
    r"|(?P<cookie>(?i:cookie\\*[\"']?\s*[:=]\s*\\*[\"']?))[^\r\n\"'\\]+"
    r"|(?P<field>(?i:(?:authorization|x-api-key|api[_-]?key|token|password|secret)"
    r"\\*[\"']?\s*[:=]\s*\\*[\"']?(?:(?:bearer|basic)\s+)?))[^\s\"',}\\]{4,}"
    r"|(?P<fragment>/setup#)[A-Za-z0-9_-]+"
)
SHORTEST = 6
"""Known values shorter than this are not searched for: they would match ordinary words."""
LONG = 16
"""From here on a known value is replaced wherever it stands; a shorter one only as a whole word."""
PLACEHOLDERS = frozenset(
    {
        "ollama", "openai", "api-key", "apikey", "api_key", "secret", "unused", "default",
        "local-key", "lm-studio", "lmstudio", "lm_studio", "llama.cpp", "llamacpp", "llama-cpp",
        "localhost",
        "no-api-key", "no-key-required", "no-key-needed", "not-a-key", "not-needed", "not-required",
        "not_needed", "placeholder", "undefined", "your-api-key", "your_api_key", "dummy-key",
        "sk-no-key-required", "sk-not-needed", "anything",
    }
)  # fmt: skip
"""What people enter where a server wants some key: no secret, and a part of ordinary texts."""

UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that begin a line, or that a terminal obeys instead of showing them."""

OURS = ("api", "channels", "core", "dashboard", "graph", "nodes", "tools")
"""Our packages; others log warnings and worse only: httpx logs addresses with tokens in them."""


TURN: ContextVar[tuple[str, str] | None] = ContextVar("turn", default=None)
"""Thread and run that the code at hand works for; tasks and threads that it starts inherit it."""


@contextmanager
def log_context(thread_id: str, run_id: str) -> Generator[None]:
    """Name the turn in every log line of the block, also in those of libraries."""
    token = TURN.set((thread_id, run_id))
    try:
        yield
    finally:
        TURN.reset(token)


class TurnFilter(logging.Filter):
    """Gives each record the turn that it belongs to; lets all of them pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set ``thread_id`` and ``run_id``, and ``turn`` for the text form; "" outside of turns."""
        thread_id, run_id = TURN.get() or ("", "")
        record.thread_id, record.run_id = thread_id, run_id
        record.turn = f" [thread_id={thread_id} run_id={run_id}]" if run_id else ""
        return True


def is_secret(value: str) -> bool:
    """Whether a key is one at all, and not a word that stands in its place."""
    return len(value) >= SHORTEST and len(set(value)) > 2 and value.casefold() not in PLACEHOLDERS


def pattern_of(values: Iterable[str]) -> re.Pattern[str] | None:
    """Matches the values that are secrets; None when there is none."""
    plain = {value for value in values if is_secret(value)}
    # As it stands in a JSON line too, where quotes and backslashes are escaped.
    forms = plain | {orjson.dumps(value).decode()[1:-1] for value in plain}
    parts = [
        re.escape(form) if len(form) >= LONG else rf"(?<![\w-]){re.escape(form)}(?![\w-])"
        for form in sorted(forms, key=len, reverse=True)
    ]
    return re.compile("|".join(parts)) if parts else None


def mask(text: str, secrets: Iterable[str], by: str = "[redacted]") -> str:
    """The text without the secrets."""
    pattern = pattern_of(secrets)
    return text if pattern is None else pattern.sub(lambda _: by, text)


class Redactor:
    """Replaces secrets in text: known values and what looks like one."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.learn(known)

    def learn(self, known: Iterable[str]) -> None:
        """Replace these values too. What was known stays known: it may still be in use
        somewhere."""
        more = self._known.union(known)
        if more != self._known:
            self._known, self._pattern = more, pattern_of(more)

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub("[redacted]", text)
        return PATTERN.sub(_replace, text)


def _replace(match: re.Match[str]) -> str:
    found = match.groupdict()
    kept = next((found[n] for n in ("url", "cookie", "field", "fragment") if found[n]), "")
    return f"{kept}[redacted]"


def visible(text: str) -> str:
    """The text in one line, with what a terminal would obey written out."""
    return UNSEEN.sub(lambda found: _written_out(found[0]), text)


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _in_json(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


class TextFormatter(logging.Formatter):
    """``time level logger [turn]: message`` in one line; redacted when arguments and traceback are
    in place. Lines of a traceback are indented, so that nothing in it looks like a line of ours."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__(
            "%(asctime)s %(levelname)-7s %(name)s%(turn)s: %(message)s", defaults={"turn": ""}
        )
        self.redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return self.redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without the traceback."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """The traceback."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        """Where it was logged."""
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join("  " + visible(line) for line in text.split("\n"))


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self.redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if run_id := getattr(record, "run_id", ""):
            line |= {"thread_id": getattr(record, "thread_id", ""), "run_id": run_id}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # JSON itself escapes the lower control characters only.
        return self.redact(UNSEEN.sub(_in_json, orjson.dumps(line, default=str).decode()))


def redact_too(values: Iterable[str]) -> None:
    """Keep further secrets out of the log from now on: those that were saved while we run."""
    known = list(values)
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, TextFormatter | JsonFormatter):
            handler.formatter.redact.learn(known)


def set_up_logging(settings: LogSettings, known: Iterable[str] = ()) -> None:
    """Log to standard error: ours from the level of the settings, libraries from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    redact = Redactor(known)
    handler.setFormatter(JsonFormatter(redact) if settings.json_lines else TextFormatter(redact))
    handler.addFilter(TurnFilter())
    root, level = logging.getLogger(), logging.getLevelNamesMapping()[settings.level.upper()]
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
