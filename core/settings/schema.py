"""Settings as forms want them: of each field its kind and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from core.errors import ConfigError
from core.settings.groups import GROUPS, LIVE_GROUPS, OPERATOR_ONLY, UNUSED

Kind = Literal["secret", "switch", "choice", "list", "whole", "number", "text"]


@dataclass(frozen=True, slots=True)
class Shape:
    """One field. ``least`` and ``most`` are inclusive; ``optional``: an empty value means the
    default."""

    name: str
    kind: Kind
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False


def shapes(group: str) -> tuple[Shape, ...]:
    """The fields of a group that the dashboard may change and that change something."""
    return tuple(
        shape_of(name, info)
        for name, info in GROUPS[group].model_fields.items()
        if (group, name) not in OPERATOR_ONLY | UNUSED
    )


def forms() -> dict[str, tuple[Shape, ...]]:
    """Every live group that has something to change, with its fields."""
    return {group: found for group in LIVE_GROUPS if (found := shapes(group))}


def shape_of(name: str, info: FieldInfo) -> Shape:
    """A field's kind and limits, as its type says them. Raises ConfigError for a type without a
    form."""
    annotation: Any = info.annotation
    inner = [one for one in get_args(annotation) if one is not type(None)]
    optional = type(None) in get_args(annotation)
    least, most = (_limit(info, kind) for kind in ("ge", "le"))
    match inner[0] if optional else annotation:
        case kind if kind is SecretStr:
            return Shape(name, "secret")
        case kind if kind is bool:
            return Shape(name, "switch")
        case kind if kind is int:
            return Shape(name, "whole", least, most, optional=optional)
        case kind if kind is float:
            return Shape(name, "number", least, most, optional=optional)
        case kind if kind is str:
            return Shape(name, "text", optional=optional)
        case kind if get_origin(kind) is tuple:
            return Shape(name, "list")
        case kind if get_origin(kind) is Literal:
            return Shape(name, "choice", choices=tuple(map(str, get_args(kind))))
        case kind:
            raise ConfigError(
                f"there is no form for the setting {name}, which is of the type {kind}; use str, "
                "bool, int, float, Literal, SecretStr or tuple[str, ...]"
            )


def _limit(info: FieldInfo, kind: str) -> float | None:
    found = (getattr(limit, kind, None) for limit in info.metadata)
    return next((float(value) for value in found if value is not None), None)
