"""Simpler forms of a request, for a refusal whose words no list knows. Each is tried once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.models.errors import OPTIONAL_PARAMETERS
from core.models.estimate import messages_tokens
from core.models.servers.capabilities import Capabilities

LONG = 500
"""Tokens of older messages from which leaving them out may be what helps."""

NO_TOOLS_NOTICE = "This model cannot use tools, so it answers without them."
SHORTER_NOTICE = (
    "The model server refused the whole conversation, so the model was given only your last "
    "message."
)

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """``changes`` is what is believed of the server if this form helps, ``notices`` what the user
    is told then; ``shorter``: only the last message of the user and what follows it is sent;
    ``only_now``: it may be this conversation that the server refuses, so nothing is remembered."""

    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    shorter: bool = False
    notices: tuple[str, ...] = ()
    only_now: bool = False


def simpler_forms(
    messages: Sequence[Message],
    body: Mapping[str, Any],
    known: Capabilities,
    *,
    about_length: bool,
) -> list[Form]:
    """The forms that differ from ``body``, from the least loss to the greatest; the last is all of
    them together. Less of the conversation is one of them where the refusal is about its length."""
    forms: list[Form] = []
    refused = known.refused_parameters
    if about_length and messages_tokens(messages) - messages_tokens(last_turn(messages)) >= LONG:
        forms.append(Form(shorter=True, notices=(SHORTER_NOTICE,)))
    optional = [name for name in OPTIONAL_PARAMETERS if name in body and name != "response_format"]
    if optional:
        forms.append(Form({"refused_parameters": (*refused, *optional)}))
    if "response_format" in body:
        forms.append(Form({"refused_parameters": (*refused, "response_format")}))
    if known.alternate_roles is not True or known.system_role is not False:
        forms.append(Form({"alternate_roles": True, "system_role": False}))
    used = any(message.get("role") == "tool" for message in messages)
    if "tools" in body or used:
        forms.append(Form({"tools": False}, notices=(NO_TOOLS_NOTICE,), only_now=used))
    return [*forms, _together(forms, refused)] if len(forms) > 1 else forms


def _together(forms: list[Form], refused: tuple[str, ...]) -> Form:
    changes: dict[str, Any] = {}
    for form in forms:
        changes |= form.changes
    left_out = [form.changes.get("refused_parameters", ()) for form in forms]
    if any(left_out):
        changes["refused_parameters"] = tuple(dict.fromkeys((*refused, *sum(left_out, ()))))
    notices = tuple(notice for form in forms for notice in form.notices)
    shorter, only_now = any(f.shorter for f in forms), any(f.only_now for f in forms)
    return Form(changes, shorter, notices, only_now)


def last_turn(messages: Sequence[Message]) -> list[Message]:
    """What the system says, and everything from the last message of the user on."""
    said = [n for n, message in enumerate(messages) if message.get("role") == "user"]
    first = said[-1] if said else 0
    return [
        message
        for n, message in enumerate(messages)
        if n >= first or message.get("role") in ("system", "developer")
    ]
