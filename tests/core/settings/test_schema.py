"""What follows from the classes of settings: groups, marks, secrets, forms."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import Field, SecretStr

from core.errors import ConfigError
from core.settings import groups
from core.settings.groups import (
    GROUPS,
    LIVE_GROUPS,
    OPERATOR_ONLY,
    SECRETS,
    UNUSED,
    Group,
    Settings,
)
from core.settings.schema import Shape, forms, shape_of, shapes
from core.settings.source import load, unused


class Sample(Group):
    """A group with a field of each kind."""

    live: ClassVar[bool] = True

    on: bool = Field(default=False, description="A switch.")
    mode: Literal["a", "b"] = Field(default="a", description="A choice.")
    most: int = Field(default=1, ge=1, le=9, description="A whole number.")
    grade: float | None = Field(default=None, ge=0, description="A number or nothing.")
    names: tuple[str, ...] = Field(default=(), description="A list.")
    key: SecretStr = Field(default=SecretStr(""), description="A secret.")
    text: str = Field(default="", description="A text.")


def test_every_class_is_a_group_and_every_group_a_class() -> None:
    classes = {c for c in Group.__subclasses__() if c.__module__ == groups.__name__} - {Settings}
    assert set(GROUPS.values()) == classes
    assert set(GROUPS) == set(Settings.model_fields) - {"home"}


def test_what_is_live_secret_or_for_the_operator_follows_from_the_fields() -> None:
    assert {"model", "security"} <= set(LIVE_GROUPS)
    assert "store" not in LIVE_GROUPS
    assert {("model", "api_key"), ("cloud", "api_key"), ("telegram", "bot_token")} <= set(SECRETS)
    assert ("model", "base_url") not in SECRETS
    assert ("model", "search_hosts") in OPERATOR_ONLY
    assert ("model", "api_key") not in OPERATOR_ONLY


def test_every_kind_of_field_has_a_form() -> None:
    found = {name: shape_of(name, info) for name, info in Sample.model_fields.items()}
    assert found == {
        "on": Shape("on", "switch"),
        "mode": Shape("mode", "choice", choices=("a", "b")),
        "most": Shape("most", "whole", 1, 9),
        "grade": Shape("grade", "number", 0, None, optional=True),
        "names": Shape("names", "list"),
        "key": Shape("key", "secret"),
        "text": Shape("text", "text"),
    }


def test_a_field_without_a_form_is_told_by_name() -> None:
    class Odd(Group):
        table: dict[str, int] = Field(default_factory=dict, description="No form.")

    with pytest.raises(ConfigError, match="table"):
        shape_of("table", Odd.model_fields["table"])


def test_every_live_group_has_a_form_unless_nothing_of_it_is_used() -> None:
    for group in LIVE_GROUPS:
        assert shapes(group) or all((group, n) in UNUSED for n in GROUPS[group].model_fields)
    assert not {"search_hosts"} & {shape.name for shape in forms()["model"]}


def test_a_setting_that_does_nothing_yet_is_told(tmp_path: Path) -> None:
    env = {"ASSISTANT_HOME": str(tmp_path), "MEMORY_VECTOR_SHORT_MAX": "7"}
    assert unused(load(env)) == [
        "memory.vector_short_max is set, but this version does not use it yet"
    ]
    assert unused(load({"ASSISTANT_HOME": str(tmp_path)})) == []
