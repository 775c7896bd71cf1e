"""Nothing secret reaches a log, however it is written."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import orjson
import pytest
from pydantic import SecretStr

from core.logs import (
    OURS,
    UNSEEN,
    JsonFormatter,
    Redactor,
    TextFormatter,
    TurnFilter,
    set_up_logging,
)
from core.models.errors import redact
from core.settings.groups import LogSettings, ModelSettings, Settings, secrets_of

KNOWN = ('correct "horse" battery\\', "пароль-к-модели", "plainvalue")
PLANTED = (
    f"7012345678:{'Ab_-3' * 7}",
    "sk-proj-abcDEF123456",
    "ak_abcdefghijklmnop",
    "ghp_abcdefghijklmnopqrstuv",
    f"AKIA{'EXAMPLE0' * 2}",
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4",
    "hunter2hunter2",
    *KNOWN,
)
LINES = (
    "GET https://api.telegram.org/bot{0}/getMe",
    "key={1} and {2} and {3} and {4}",
    "Authorization: Bearer {5}",
    "Authorization: Basic {6}",
    '{{"authorization": "Bearer {6}", "x-api-key": "{6}"}}',
    "{{'api_key': '{6}', 'password': '{6}'}}",
    "redis://user:{6}@host:6379/0 rediss://:{6}@host",
    "Cookie: theme=dark; asst_session={6}; other={6}",
    "set-cookie: asst_session={6}; HttpOnly",
    "http://127.0.0.1:8080/setup#{6}",
    "token={6} secret: {6} api-key={6}",
    "values {7} {8} {9}",
)


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    made = logging.LogRecord("x", logging.INFO, __file__, 1, message, args, info)
    assert TurnFilter().filter(made)
    return made


def rendered(made: logging.LogRecord) -> list[str]:
    redact = Redactor(KNOWN)
    return [TextFormatter(redact).format(made), JsonFormatter(redact).format(made)]


def leaks(text: str) -> list[str]:
    shapes = {value for plain in PLANTED for value in (plain, orjson.dumps(plain).decode()[1:-1])}
    return sorted(value for value in shapes if value in text)


@pytest.mark.parametrize("line", LINES)
def test_planted_secrets_do_not_appear(line: str) -> None:
    text = line.format(*PLANTED)
    for output in rendered(record("%s", text)):
        assert leaks(output) == []
        assert "[redacted]" in output


def test_secrets_in_a_traceback_do_not_appear() -> None:
    try:
        raise ValueError(f"no access with {PLANTED[1]} to redis://:{PLANTED[6]}@host")
    except ValueError as error:
        outputs = rendered(record("it failed", error=error))
    for output in outputs:
        assert leaks(output) == []
        assert "ValueError" in output


def test_json_lines_stay_json() -> None:
    for line in LINES:
        _, output = rendered(record("%s", line.format(*PLANTED)))
        assert orjson.loads(output)["logger"] == "x"


@pytest.mark.parametrize(
    "text",
    [
        "the token count is 12 and the password field is empty",
        "https://host:8080/path?x=1 at 12:30:45",
        "model gpt-4o-mini answered in 3 s, task-1234 done",
        "thread t_k3jxabcdefghijkl run t_k3jx.abcdefghijklmnop",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert Redactor(KNOWN)(text) == text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("x", "next context"),
        ("EMPTY", "the answer is EMPTY"),
        ("ollama", "is ollama running? try `ollama serve`"),
        ("lm-studio", "LM Studio says lm-studio, lm-studio is open"),
        ("Not-Needed", "Not-Needed"),
        ("0000000000", "0000000000"),
        ("hunter22", "hunter222 and xhunter22 and my-hunter22"),
        ("мой-ключ", "это не мой-ключик"),
    ],
)
def test_a_placeholder_or_a_part_of_a_word_is_no_key(key: str, text: str) -> None:
    """With the key "x" each x of a text was masked."""
    assert Redactor([key])(text) == text
    assert redact(text, (key,)) == text


@pytest.mark.parametrize(
    ("key", "text", "shown"),
    [
        ("hunter22", "key=hunter22&a=1", "key=[redacted]&a=1"),
        ("hunter22", 'got "hunter22".', 'got "[redacted]".'),
        ("a-long-key-of-20-char", "bota-long-key-of-20-char/x", "bot[redacted]/x"),
        ("ключ-от-дома", "нет: ключ-от-дома!", "нет: [redacted]!"),
        ("$ecret(key)", "($ecret(key))", "([redacted])"),
    ],
)
def test_a_key_is_masked_as_a_word_and_a_long_one_everywhere(
    key: str, text: str, shown: str
) -> None:
    redactor = Redactor()
    redactor.learn([key])
    assert redactor(text) == shown
    assert redact(text, (key,)) == shown.replace("[redacted]", "***")


def test_short_values_are_not_searched_for() -> None:
    assert Redactor(["", "abc"])("abcdef") == "abcdef"


def test_the_settings_know_their_secrets(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, model=ModelSettings(api_key=SecretStr("one-two-three")))
    assert "one-two-three" in secrets_of(settings)


FORGED = "GET /api/x\n2026-11-26 00:00:00,000 WARNING core: forged\x1b[31m\x9b2J\r\u2028\u202egnp.x"


def test_a_message_stays_one_line_and_obeys_nothing() -> None:
    """Without a credential an address with %0a wrote lines of its own into the log."""
    for output in rendered(record("%s answered 503", FORGED)):
        assert len(output.splitlines()) == 1
        assert UNSEEN.search(output) is None
    text, line = rendered(record("%s", FORGED))
    assert "x\\x0a2026" in text
    assert "\\x1b[31m\\x9b2J\\x0d\\u2028\\u202egnp" in text
    assert orjson.loads(line)["message"] == FORGED


def test_a_traceback_has_no_line_that_looks_like_ours() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        text, line = rendered(record("it failed", error=error))
    first, *more = text.split("\n")
    assert first.endswith("it failed")
    assert more[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in more)
    assert UNSEEN.search(text.replace("\n", "")) is None
    assert orjson.loads(line)["traceback"].count("\n") >= 3


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_libraries_log_warnings_only(
    level: Literal["debug", "info", "error"], capsys: pytest.CaptureFixture[str]
) -> None:
    """The openai client had changed to httpx2, which logged addresses with keys in them."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, {name: logging.getLogger(name).level for name in OURS}
    try:
        set_up_logging(LogSettings(level=level))
        for name in ("httpx2", "httpcore2", "httpx", "openai", "anything"):
            logging.getLogger(name).info("GET https://host/v1?key=AIzaSyPLANTED")
            logging.getLogger(name).error("trouble of %s", name)
        logging.getLogger("core.somewhere").info("ours")
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        for name, number in before[2].items():
            logging.getLogger(name).setLevel(number)
    said = capsys.readouterr().err
    assert "PLANTED" not in said
    assert "trouble of httpx2" in said
    assert ("ours" in said) == (level != "error")


def test_our_packages_are_those_that_are_there() -> None:
    root = Path(__file__).resolve().parents[2]
    found = {path.parent.name for path in root.glob("*/__init__.py")}
    assert set(OURS) == found - {"tests", "benchmarks", "docs"}
