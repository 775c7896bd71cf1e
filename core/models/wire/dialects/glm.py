"""GLM 4.5 and later: the name, then ``<arg_key>`` and ``<arg_value>``, within ``<tool_call>``."""

from __future__ import annotations

import re

from core.models.wire.dialects.base import NAME, Dialect, Opener, Parsed, Tools, call, typed

HEAD = re.compile(rf"\s*+({NAME})\s*+(?=<arg_key>|\Z)")
ARGUMENT = re.compile(
    r"<arg_key>\s*+([^<]{1,128}+)</arg_key>\s*+<arg_value>\n?(.*?)\n?"
    r"(?:</arg_value>|(?=<arg_key>)|\Z)",
    re.DOTALL,
)


def parse(text: str, tools: Tools) -> Parsed | None:
    """One call."""
    head = HEAD.match(text)
    if head is None:
        return None
    schema = tools.get(head.group(1), {})
    arguments = {
        key.strip(): typed(value, schema.get(key.strip()))
        for key, value in ARGUMENT.findall(text, head.end())
    }
    found = call(head.group(1), arguments, tools)
    return Parsed((found,)) if found else None


GLM = Dialect(
    "glm",
    "GLM 4.5, 4.6, 4.7, 5",
    openers=(Opener("<tool_call>", "</tool_call>", parse),),
    ends=("<|user|>", "<|observation|>"),
    noise=("<|begin_of_box|>", "<|end_of_box|>"),
)
