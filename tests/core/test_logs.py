"""Nothing secret reaches a log, however it is written."""

from __future__ import annotations

import logging
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr

from core.logs import JsonFormatter, Redactor, TextFormatter, TurnFilter
from core.models.errors import redact
from core.settings.groups import ModelSettings, Settings, secrets_of

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
