"""Which tools a turn is offered, while sources of tools come and go."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from core.errors import ConfigError
from core.services import Services
from tools.base import Tool, Toolset, Traits, tool
from tools.toolbox import MAX_BUILT, Toolbox, never
from tools.toolsets import TOOLSETS, build_toolbox

NOTHING = cast("Services", SimpleNamespace(store=SimpleNamespace(redis=None), profiles=None))
"""Toolsets bind to the services; only calls use them."""


def named(name: str, traits: Traits | None = None) -> Tool:
    """A tool of this name."""

    async def run() -> str:
        """Do something."""
        return name

    run.__name__ = name
    return tool(run, traits or Traits())


def offered(toolbox: Toolbox, user: str = "u1", thread: str = "t1") -> list[str]:
    """Names in the order of the schemas."""
    schemas = toolbox.for_turn(user, thread).everything.schemas
    return [str(schema["function"]["name"]) for schema in schemas]


# ---- coming and going


def test_a_turn_keeps_the_tools_it_began_with() -> None:
    toolbox = Toolbox({"a": [named("one"), named("two")]})
    begun = toolbox.for_turn("u1", "t1")
    toolbox.put("a", [named("one"), named("three")])
    toolbox.remove("nothing")
    assert set(begun.by_name) == {"one", "two"}
    assert offered(toolbox) == ["one", "three"]
    assert toolbox.for_turn("u1", "t1").version == begun.version + 1
    toolbox.remove("a")
    assert offered(toolbox) == []
    assert begun.refusal("two") == ""
    assert "no tool 'two'" in toolbox.for_turn("u1", "t1").refusal("two")


def test_the_order_does_not_depend_on_when_a_source_came() -> None:
    """A prompt that begins otherwise is read anew by the model server, all of it."""
    first, second = (Toolbox({"z": [named("z1"), named("a1")]}) for _ in range(2))
    first.put("mail", [named("m1")])
    first.put("files", [named("f1")])
    second.put("files", [named("f1")])
    second.put("mail", [named("m1")])
    second.remove("z")
    second.put("z", [named("z1"), named("a1")])
    assert offered(first) == offered(second) == ["z1", "a1", "f1", "m1"]
    both = [orjson.dumps(box.for_turn("u", "t").everything.schemas) for box in (first, second)]
    assert both[0] == both[1]


def test_schemas_are_made_once_and_an_offer_once_per_version() -> None:
    toolbox = Toolbox({"a": [named("one"), named("two")]})
    begun = toolbox.for_turn("u1", "t1")
    assert toolbox.for_turn("u2", "t2") is begun
    toolbox.put("b", [named("three")])
    later = toolbox.for_turn("u1", "t1")
    assert later is not begun
    for before, after in zip(begun.everything.schemas, later.everything.schemas, strict=False):
        assert after is before


def test_a_rule_withholds_a_tool_from_a_user_or_a_conversation() -> None:
    def rule(entry: Tool, user_id: str, thread_id: str) -> str:
        if entry.name == "shell" and user_id != "admin":
            return "only administrators may use it"
        return "it is switched off here" if thread_id == "quiet" else ""

    toolbox = Toolbox({"a": [named("shell"), named("clock")]}, [rule])
    assert offered(toolbox, "admin") == ["shell", "clock"]
    assert offered(toolbox, "u1") == ["clock"]
    assert offered(toolbox, "admin", "quiet") == []
    refusal = toolbox.for_turn("u1", "t1").refusal("shell")
    assert refusal == "The tool 'shell' cannot be used now: only administrators may use it."
    assert "switched off" in toolbox.for_turn("admin", "quiet").refusal("shell")
    assert toolbox.for_turn("u1", "t1") is toolbox.for_turn("u2", "t2")


def test_a_rule_with_a_reason_per_user_does_not_fill_the_memory() -> None:
    toolbox = Toolbox({"a": [named("one")]}, [lambda _tool, user, _thread: f"not for {user}"])
    for number in range(5 * MAX_BUILT):
        assert f"not for {number}." in toolbox.for_turn(str(number), "t").refusal("one")
    assert len(toolbox._built) <= MAX_BUILT  # pyright: ignore[reportPrivateUsage] - memory has no other sign


# ---- what nobody is offered


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        (Traits(asks="always"), "agreement"),
        (Traits(needs_sandbox=True), "sandbox"),
        (Traits(effect="execute", needs_sandbox=True, asks="always"), "sandbox"),
    ],
)
def test_what_cannot_be_run_safely_yet_is_not_offered_and_the_log_says_so(
    traits: Traits, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        toolbox = Toolbox({"shells": [named("shell", traits), named("clock")]})
    assert offered(toolbox) == ["clock"]
    [line] = caplog.messages
    assert line.startswith("tool shell of shells is not offered: ")
    assert words in line
    assert words in toolbox.withheld["shell"]
    assert [entry.name for entry in toolbox.tools] == ["shell", "clock"]
    assert words in toolbox.for_turn("u1", "t1").refusal("shell")


def test_all_other_traits_are_offered() -> None:
    for effect in ("read", "write", "send", "execute"):
        for asks in ("never", "after_untrusted"):
            assert never(Traits(effect=effect, asks=asks, untrusted=True, timeout=1)) == ""


def test_every_built_in_tool_is_offered() -> None:
    assert build_toolbox(NOTHING).withheld == {}


# ---- broken entries


def toolset(*tools: Any) -> Toolset:
    def entry(_services: Services) -> Sequence[Tool]:
        return tools

    return entry


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^a has two tools named 'same'$"):
        Toolbox({"a": [named("same"), named("same")]})
    toolbox = Toolbox({"a": [named("same")], "b": [named("other")]})
    with pytest.raises(ConfigError, match=r"^a and c both have a tool named 'same'$"):
        toolbox.put("c", [named("fine"), named("same")])
    assert offered(toolbox) == ["same", "other"], "nothing has changed"


def test_two_toolsets_with_a_tool_of_one_name_stop_the_start() -> None:
    def mine(_services: Services) -> Sequence[Tool]:
        return [named("current_time")]

    with pytest.raises(ConfigError) as caught:
        build_toolbox(NOTHING, (*TOOLSETS, mine))
    assert "tools.clock.toolset" in caught.value.detail
    assert f"{__name__}.test_two_toolsets" in caught.value.detail
    assert "'current_time'" in caught.value.detail


def test_a_toolset_that_stands_twice_in_the_list_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r"toolset tools\.clock\.toolset is in the list twice"):
        build_toolbox(NOTHING, (*TOOLSETS, TOOLSETS[0]))


def test_a_toolset_that_raises_stops_the_start() -> None:
    def explode(_services: Services) -> Sequence[Tool]:
        raise RuntimeError("no such server")

    with pytest.raises(ConfigError, match=r"explode is broken: no such server"):
        build_toolbox(NOTHING, (*TOOLSETS, explode))


async def no_words() -> str:
    return ""


async def wrong_words(number: int) -> str:
    """Say something.

    Args:
        letter: There is no such parameter.
    """
    return str(number)


async def a_name_that_is_much_too_long_for_any_model_server_to_take_as_it_is() -> str:
    """Say something."""
    return ""


def waits() -> str:
    """Block all others."""
    return ""


async def fine() -> str:
    """Say something."""
    return ""


@pytest.mark.parametrize(
    ("function", "traits", "words"),
    [
        (no_words, Traits(), "tool 'no_words' has no docstring"),
        (wrong_words, Traits(), "tool 'wrong_words' cannot be described"),
        (
            a_name_that_is_much_too_long_for_any_model_server_to_take_as_it_is,
            Traits(),
            "64 letters",
        ),
        (waits, Traits(), "tool 'waits' is no async function"),
        (fine, Traits(timeout=0), "tool 'fine' has a timeout of 0 seconds"),
    ],
)
def test_a_broken_tool_stops_the_start_and_is_named_with_its_toolset(
    function: Any, traits: Traits, words: str
) -> None:
    def broken(_services: Services) -> Sequence[Tool]:
        return [tool(function, traits)]

    with pytest.raises(ConfigError) as caught:
        build_toolbox(NOTHING, (*TOOLSETS, broken))
    assert "broken is broken: " in caught.value.detail
    assert words in caught.value.detail


@pytest.mark.parametrize("entry", [None, fine, "fine"])
def test_what_is_no_tool_stops_the_start(entry: Any) -> None:
    with pytest.raises(ConfigError, match=r"entry is broken: .* is not a tool"):
        build_toolbox(NOTHING, [toolset(entry)])
