"""Secrets at rest."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AssistantError, ConfigError
from core.home.secrets import (
    KEY_FILE,
    SecretBox,
    SecretUnreadable,
    create_private,
    load_key,
    open_box,
)

BOX = SecretBox(bytes(range(32)))


@given(st.text(), st.text(alphabet=st.characters()))
def test_what_is_sealed_opens_again(field: str, text: str) -> None:
    field = field.encode("utf-8", "replace").decode()
    assert BOX.open(field, BOX.seal(field, text)) == text


def test_the_text_is_hidden_and_never_sealed_the_same_way_twice() -> None:
    sealed = {BOX.seal("model.api_key", "sk-secret") for _ in range(50)}
    assert len(sealed) == 50
    assert all(re.fullmatch(r"v1\.[0-9a-f]{8}\.[\w=-]+", value) for value in sealed)
    assert not any("secret" in value for value in sealed)
    assert "secret" not in repr(BOX)


def test_a_value_cannot_move_to_another_field() -> None:
    with pytest.raises(SecretUnreadable, match=r"telegram\.bot_token was changed"):
        BOX.open("telegram.bot_token", BOX.seal("model.api_key", "x"))


def test_another_key_file_is_named_as_the_cause() -> None:
    with pytest.raises(AssistantError, match="another key file") as caught:
        SecretBox(bytes(32)).open("model.api_key", BOX.seal("model.api_key", "x"))
    assert caught.value.code == "secret_unreadable"
    assert KEY_FILE in caught.value.detail


@given(st.data())
def test_no_changed_value_opens(data: st.DataObject) -> None:
    sealed = BOX.seal("f", "text")
    at = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != sealed[at]))
    with pytest.raises(SecretUnreadable):
        BOX.open("f", sealed[:at] + other + sealed[at + 1 :])


@pytest.mark.parametrize("sealed", ["", "v1", "v1.", "v1..", "v2.x.y", "plain text", "é.é.é"])
def test_what_is_no_sealed_value(sealed: str) -> None:
    with pytest.raises(SecretUnreadable):
        BOX.open("f", sealed)


def test_the_key_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    box = open_box(tmp_path)
    path = tmp_path / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_box(tmp_path).open("f", box.seal("f", "text")) == "text"
    assert [p.name for p in tmp_path.iterdir()] == [KEY_FILE]


def test_the_first_of_many_at_once_makes_the_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    start = threading.Barrier(8)

    def load() -> None:
        start.wait()
        found.append(load_key(tmp_path))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_key_file_that_others_can_read_becomes_private(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    load_key(tmp_path)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert "readable by others" in caplog.text


@pytest.mark.parametrize("content", ["", "short", "!" * 44, "A" * 40, "ключ"])
def test_a_damaged_key_file_stops_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / KEY_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="damaged"):
        load_key(tmp_path)


def test_a_folder_in_its_place_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="cannot be used"):
        load_key(tmp_path)


def test_a_private_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert create_private(path, "first")
    assert not create_private(path, "second")
    assert path.read_text() == "first"


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32"):
        SecretBox(b"short")
