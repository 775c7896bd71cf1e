"""Every text exists in every language, and every text that is asked for exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dashboard
from core.settings.schema import forms
from dashboard.i18n import LANGUAGES, Catalogue, choose_language, load_catalogues
from dashboard.pages import HAND_MADE

HERE = Path(dashboard.__file__).parent
PLURALS = {"en": {"one", "other"}, "ru": {"one", "few", "many", "other"}}
BUILT_KEYS = re.compile(r"`([\w.]+)\.\$\{")
KEYS = re.compile(r"""['"]([a-z_]+(?:\.[a-z_0-9]+)+)['"]""")
TEMPLATE_KEYS = re.compile(r"\bt\(['\"]([\w.]+)['\"]\)")


@pytest.fixture(scope="module")
def catalogues() -> dict[str, Catalogue]:
    """The catalogues as shipped."""
    return load_catalogues(HERE / "locale")


def own_scripts() -> str:
    files = [file for file in (HERE / "static/js").rglob("*.js")]
    return "\n".join(file.read_text() for file in files)


def test_same_keys_in_every_language(catalogues: dict[str, Catalogue]) -> None:
    english, russian = (catalogues[language].messages for language in LANGUAGES)
    assert english.keys() == russian.keys()
    for key, message in english.items():
        assert isinstance(message, str) == isinstance(russian[key], str), key


def test_plural_forms_are_complete(catalogues: dict[str, Catalogue]) -> None:
    for language, catalogue in catalogues.items():
        for key, message in catalogue.messages.items():
            if isinstance(message, dict):
                assert message.keys() == PLURALS[language], (language, key)


def test_same_placeholders_in_every_language(catalogues: dict[str, Catalogue]) -> None:
    for key, message in catalogues["en"].messages.items():
        russian = catalogues["ru"].messages[key]
        for one in (message, russian):
            forms = [one] if isinstance(one, str) else list(one.values())
            names = {tuple(sorted(re.findall(r"\{(\w+)\}", form))) for form in forms}
            assert len(names) == 1, key
        first = message if isinstance(message, str) else message["other"]
        second = russian if isinstance(russian, str) else russian["other"]
        assert sorted(re.findall(r"\{\w+\}", first)) == sorted(re.findall(r"\{\w+\}", second)), key


def test_russian_is_russian(catalogues: dict[str, Catalogue]) -> None:
    for key, message in catalogues["ru"].messages.items():
        words = message if isinstance(message, str) else message["other"]
        assert not words or re.search("[а-яё]", words, re.IGNORECASE), key


def test_every_key_of_the_templates_is_a_plain_text(catalogues: dict[str, Catalogue]) -> None:
    for file in (HERE / "templates").glob("*.html"):
        for key in TEMPLATE_KEYS.findall(file.read_text()):
            assert catalogues["en"].text(key), (file.name, key)


def test_every_key_of_the_scripts_exists_and_none_is_left_over(
    catalogues: dict[str, Catalogue],
) -> None:
    keys = set(catalogues["en"].messages)
    prefixes = tuple(f"{prefix}." for prefix in BUILT_KEYS.findall(own_scripts()))
    groups = {key.split(".")[0] for key in keys}
    named = {key for key in KEYS.findall(own_scripts()) if key.split(".")[0] in groups}
    named |= set(re.findall(r"\bt\('(\w+)'", own_scripts()))
    assert named - keys == set()
    templates = "\n".join(file.read_text() for file in (HERE / "templates").glob("*.html"))
    used = named | set(TEMPLATE_KEYS.findall(templates)) | of_settings()
    assert {key for key in keys - used if not key.startswith(prefixes)} == set()


def of_settings() -> set[str]:
    """Keys of the cards that are drawn from the settings themselves."""
    cards = {group: shapes for group, shapes in forms().items() if group not in HAND_MADE}
    names = {f"setting.{group}.{s.name}" for group, shapes in cards.items() for s in shapes}
    heads = {f"setting.{group}" for group in cards}
    return names | heads | {f"{n}.hint" for n in names} | {f"{head}.lead" for head in heads}


def test_every_setting_on_the_page_has_its_texts(catalogues: dict[str, Catalogue]) -> None:
    assert of_settings()
    assert of_settings() - set(catalogues["en"].messages) == set()


def test_plural_asked_for_in_a_template_is_a_clear_error(catalogues: dict[str, Catalogue]) -> None:
    with pytest.raises(KeyError, match="plural forms"):
        catalogues["en"].text("model.count")


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        (None, "", "en"),
        (None, "ru-RU,ru;q=0.9", "ru"),
        (None, "de;q=0.9, fr", "en"),
        (None, "en;q=0.4, ru;q=0.8", "ru"),
        (None, "ru;q=0, en;q=0.1", "en"),
        (None, "ru;q=x", "en"),
        ("ru", "en", "ru"),
        ("xx", "ru", "ru"),
    ],
)
def test_language_of_a_request(cookie: str | None, accept: str, language: str) -> None:
    assert choose_language(cookie, accept) == language
