"""The built-in tools: clock and user data."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tools
from core.errors import ToolError
from core.store.client import Store
from nodes.tool_agent import run_call
from tests.support.desk import USER
from tests.support.studio import Studio, in_order, studio, text
from tools.base import Caller, Tool
from tools.clock import describe_now
from tools.toolsets import TOOLSETS, build_toolbox

CALLER = Caller(USER, "t1", "t1.r")


async def call(it: Studio, name: str, **arguments: Any) -> tuple[str, str]:
    return await run_call(by_name(it)[name], arguments, CALLER, 5)


def by_name(it: Studio) -> Mapping[str, Tool]:
    return build_toolbox(it.services).for_turn(USER, "t1").by_name


def test_every_toolset_is_in_the_list() -> None:
    modules = [f"tools.{module.name}" for module in pkgutil.iter_modules(tools.__path__)]
    made = {name: getattr(importlib.import_module(name), "toolset", None) for name in modules}
    missing = [name for name, toolset in made.items() if toolset and toolset not in TOOLSETS]
    assert missing == [], "no line in tools/toolsets.py"


def test_now_in_words() -> None:
    shape = r"\w+, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert re.match(shape + r"\+0000 \(UTC; the user's time zone is not known", describe_now(""))
    assert re.match(shape + r"\+0900 \(Asia/Tokyo\)$", describe_now("Asia/Tokyo"))
    for bad in ("Mars/Olympus", "../../etc/passwd", "\ud800", "x" * 5000):
        with pytest.raises(ToolError, match="no time zone"):
            describe_now(bad)


async def test_the_clock_knows_the_users_zone(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("x"))) as it:
        assert "not known" in (await call(it, "current_time"))[1]
        assert await call(it, "set_profile", key="time zone", value="Asia/Tokyo") == (
            "ok",
            "stored time zone: Asia/Tokyo",
        )
        assert "(Asia/Tokyo)" in (await call(it, "current_time"))[1]
        assert "(Europe/Berlin)" in (await call(it, "current_time", time_zone="Europe/Berlin"))[1]


async def test_user_data(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("x"))) as it:
        assert await call(it, "get_profile") == ("ok", "nothing is stored yet")
        await call(it, "set_profile", key="name", value="Ada")
        assert await call(it, "get_profile") == ("ok", "name: Ada")
        status, words = await call(it, "set_profile", key="time_zone", value="Mars")
        assert status == "error"
        assert "no time zone" in words
        assert await call(it, "set_profile", key="name", value="") == ("ok", "removed name")
        assert await it.services.profiles.get(USER) == {}
        other = Caller("u2", "t", "t.r")
        profile = by_name(it)["get_profile"]
        assert await run_call(profile, {}, other, 5) == ("ok", "nothing is stored yet")


async def test_schemas_are_small_and_complete(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("x"))) as it:
        tools = build_toolbox(it.services).for_turn(USER, "t1")
    assert set(tools.by_name) == {entry["function"]["name"] for entry in tools.everything.schemas}
    for entry in tools.everything.schemas:
        function = entry["function"]
        assert function["description"]
        assert "caller" not in function["parameters"]["properties"]
        for parameter in function["parameters"]["properties"].values():
            assert parameter["description"]
