"""Families that write JSON between two words of their own."""

from __future__ import annotations

from core.models.wire.dialects.base import Dialect, Opener, json_calls

GRANITE = Dialect(
    "granite, phi",
    "Granite 3, Phi-4-mini",
    openers=(Opener("<|tool_call|>", "<|/tool_call|>", json_calls),),
    noise=("<|start_of_role|>", "<|end_of_role|>"),
)

COMMAND = Dialect(
    "command",
    "Command R7B, Command A",
    openers=(Opener("<|START_ACTION|>", "<|END_ACTION|>", json_calls),),
    thinking=(("<|START_THINKING|>", "<|END_THINKING|>"),),
    ends=("<|END_OF_TURN_TOKEN|>",),
    noise=("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"),
)

OTHERS = Dialect(
    "others",
    "Nemotron, Hunyuan, Jamba, InternLM, Apertus",
    openers=(
        Opener("<TOOLCALL>", "</TOOLCALL>", json_calls),
        Opener("<tool_calls>", "</tool_calls>", json_calls),
        Opener("<function_call>", "</function_call>", json_calls),
        Opener("<|action_start|><|plugin|>", "<|action_end|>", json_calls),
        Opener("<|tools_prefix|>", "<|tools_suffix|>", json_calls),
    ),
)
