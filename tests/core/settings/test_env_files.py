"""Files `.env`: where they count, and where they do not."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.settings.env_files import checkout, passed_over, read_env_file, with_env_files
from tests.support.commands import FRONT, environment


def written(folder: Path, text: str) -> Path:
    """The file."""
    folder.mkdir(exist_ok=True)
    path = folder / ".env"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_env_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    text = "\ufeff# comment\n\nexport A=1\nB = 'two words' \nC=\"x=y\"\nD=\n"
    path.write_text(text, encoding="utf-8")
    assert read_env_file(path) == {"A": "1", "B": "two words", "C": "x=y", "D": ""}
    path.write_text("what is this\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 1: write NAME=value"):
        read_env_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_env_file(path)


def test_checkout_then_data_folder_then_environment(tmp_path: Path) -> None:
    home = tmp_path / "home"
    written(tmp_path, f"A=checkout\nB=checkout\nC=checkout\nASSISTANT_HOME={home}\n")
    written(home, "B=home\nC=home\nASSISTANT_HOME=/elsewhere\n")
    found = with_env_files({"C": "environment"}, tmp_path)
    assert [found[name] for name in "ABC"] == ["checkout", "home", "environment"]
    assert found["ASSISTANT_HOME"] == str(home)


def test_a_named_file_is_the_only_one(tmp_path: Path) -> None:
    named = written(tmp_path / "named", "A=named\n")
    written(tmp_path, "B=checkout\n")
    written(tmp_path / "home", "B=home\n")
    given = {"ASSISTANT_HOME": str(tmp_path / "home"), "ASSISTANT_ENV_FILE": str(named)}
    assert with_env_files(given, tmp_path) == {**given, "A": "named"}


def test_one_that_is_passed_over_is_named(tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    env = {"ASSISTANT_HOME": str(home)}
    path = written(here, "A=1\n")
    written(home, "A=1\n")
    assert passed_over(env, here) == path
    assert passed_over(env, home) is None
    assert passed_over(env, tmp_path) is None
    assert passed_over({**env, "ASSISTANT_ENV_FILE": "/x"}, here) is None


def test_this_is_a_checkout() -> None:
    assert checkout() == FRONT.parent


async def test_a_hostile_folder_decides_nothing(tmp_path: Path) -> None:
    """`doctor` in a foreign checkout sent the exported key to the address in its `.env`, and `up`
    ran code from its Redis."""
    hostile, home = tmp_path / "hostile", tmp_path / "home"
    path = written(hostile, "OPENAI_BASE_URL=http://127.0.0.1:9/v1\nREDIS_URL=redis://evil:1/0\n")
    env = environment(home, OPENAI_API_KEY="sk-of-the-environment", ASSISTANT_PORT="0")
    del env["ASSISTANT_ENV_FILE"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(FRONT), "doctor", "--json",
        cwd=hostile, env=env, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    report = json.loads(out)
    assert {setting["name"] for setting in report["settings"]}.isdisjoint(
        {"model.base_url", "store.redis_url"}
    )
    said = [check["detail"] for check in report["checks"] if str(path) in check["detail"]]
    assert len(said) == 1
    assert "is not read" in said[0]
    assert "evil" not in out.decode()
