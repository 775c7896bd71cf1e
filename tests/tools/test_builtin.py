"""The built-in skills: clock and user data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError, ToolError
from core.store.client import Store
from nodes.tool_agent import run_call
from tests.support.desk import USER
from tests.support.studio import Studio, in_order, studio, text
from tools.base import Caller, Toolbox, skill
from tools.clock import describe_now
from tools.toolsets import build_toolbox

CALLER = Caller(USER, "t1", "t1.r")


async def call(it: Studio, name: str, **arguments: Any) -> tuple[str, str]:
    toolbox = build_toolbox(it.services)
    return await run_call(toolbox.skills[name], arguments, CALLER, 5)


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
        profile = build_toolbox(it.services).skills["get_profile"]
        assert await run_call(profile, {}, other, 5) == ("ok", "nothing is stored yet")


async def test_schemas_are_small_and_complete(store: Store, tmp_path: Path) -> None:
    async with studio(store, tmp_path, in_order(text("x"))) as it:
        toolbox = build_toolbox(it.services)
    assert set(toolbox.skills) == {
        entry["function"]["name"] for entry in toolbox.everything.schemas
    }
    for entry in toolbox.everything.schemas:
        function = entry["function"]
        assert function["description"]
        assert "caller" not in function["parameters"]["properties"]
        for parameter in function["parameters"]["properties"].values():
            assert parameter["description"]


def test_two_skills_of_one_name_are_refused() -> None:
    async def same() -> str:
        """Same."""
        return ""

    with pytest.raises(ConfigError, match="same name: same"):
        Toolbox([skill(same), skill(same)])
