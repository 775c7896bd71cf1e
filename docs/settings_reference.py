"""Writes config/default.yaml and docs/settings.md from the settings themselves: `make docs`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from core.settings.groups import GROUPS, LIVE_GROUPS, UNUSED
from core.settings.source import environment_names

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config" / "default.yaml"
PAGE = ROOT / "docs" / "settings.md"

CONFIG_HEAD = """\
# Every setting with its default. Copy the lines you change into a file of your own and name it in
# ASSISTANT_CONFIG, or set the variable named in docs/settings.md; the environment and what is saved
# in the dashboard win over this file. An unknown name is an error, so a slip is noticed.
# Written by `make docs` from core/settings/groups.py.
"""

PAGE_HEAD = """\
# Settings

Where a value comes from, lowest first: the default, a YAML file (`config/default.yaml`, or the one
that `ASSISTANT_CONFIG` names), files `.env` and the environment, then what was saved in the
dashboard. An unknown name in a YAML file or a variable `ASSISTANT_…` is an error that names the
nearest valid one.

Groups marked *live* can be changed in the dashboard and take effect without a restart. Keys and
tokens saved there are encrypted. An empty variable counts as unset; a list is written with commas.

| variable | meaning |
|---|---|
| `ASSISTANT_HOME` | The data folder. Default: the platform's folder for user data. |
| `ASSISTANT_CONFIG` | A YAML file instead of `config/default.yaml`. |
| `ASSISTANT_ENV_FILE` | The one file to read instead of every `.env`. |

A `.env` is read in the data folder and, when the program runs from its source, in the checkout; the
first of them wins. One in the current folder is not read, as any folder may have one; `assistant
up` and `doctor` say so.

This page is written by `make docs` from `core/settings/groups.py`.
"""


def default(info: FieldInfo) -> Any:
    """The default as plain data; a secret shows as its (empty) text."""
    value: Any = info.get_default()
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - the tuple's items are plain data


def shown(info: FieldInfo) -> str:
    """The default as YAML (JSON scalars and flow lists are YAML)."""
    return json.dumps(default(info), ensure_ascii=False)


def config() -> str:
    """The text of config/default.yaml."""
    return CONFIG_HEAD + "".join(_config_groups())


def _config_groups() -> Iterator[str]:
    for group, model in GROUPS.items():
        yield f"\n# {model.__doc__}\n{group}:\n"
        for name, info in model.model_fields.items():
            later = " Not used yet." if (group, name) in UNUSED else ""
            for line in textwrap.wrap(f"{info.description}{later}", 94):
                yield f"  # {line}\n"
            yield f"  {name}: {shown(info)}\n"


def page() -> str:
    """The text of docs/settings.md."""
    return PAGE_HEAD + "".join(_page_groups())


def _page_groups() -> Iterator[str]:
    variables: dict[tuple[str, str], list[str]] = {}
    for variable, setting in environment_names().items():
        variables.setdefault(setting, []).append(variable)
    for group, model in GROUPS.items():
        live = " *live*" if group in LIVE_GROUPS else ""
        yield f"\n## {group}{live}\n\n{model.__doc__}\n\n"
        yield "| setting | default | meaning | variable |\n|---|---|---|---|\n"
        for name, info in model.model_fields.items():
            names = ", ".join(f"`{variable}`" for variable in reversed(variables[group, name]))
            later = " Not used yet." if (group, name) in UNUSED else ""
            meaning = f"{info.description}{_limits(info)}{later}".replace("|", "\\|")
            yield f"| `{group}.{name}` | `{shown(info)}` | {meaning} | {names} |\n"


def _limits(info: FieldInfo) -> str:
    """The bounds of a number, as far as pydantic knows them."""
    words = {"ge": "at least", "gt": "more than", "le": "at most"}
    bounds = [
        f"{words[kind]} {getattr(limit, kind):g}"
        for limit in info.metadata
        for kind in words
        if getattr(limit, kind, None) is not None
    ]
    return f" ({', '.join(bounds)})" if bounds else ""


if __name__ == "__main__":
    CONFIG.write_text(config(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
