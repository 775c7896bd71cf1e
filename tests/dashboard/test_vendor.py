"""The vendored files are those that the lock file and the manifest name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest

import dashboard

HERE = Path(dashboard.__file__).parent
OUT = HERE / "static/vendor"
SOURCES = HERE / "vendor"
MANIFEST = orjson.loads((OUT / "VENDOR.json").read_bytes())

pytestmark = pytest.mark.skipif(not SOURCES.is_dir(), reason="a wheel ships no build files")


def test_files_are_the_built_ones() -> None:
    shipped = {file.name for file in OUT.iterdir() if file.suffix in (".js", ".svg")}
    assert shipped == MANIFEST["files"].keys()
    for name, entry in MANIFEST["files"].items():
        assert hashlib.sha256((OUT / name).read_bytes()).hexdigest() == entry["sha256"], name


def test_versions_are_pinned_and_locked() -> None:
    wanted = orjson.loads((SOURCES / "package.json").read_bytes())["dependencies"]
    locked = orjson.loads((SOURCES / "package-lock.json").read_bytes())["packages"]
    built = {package["name"]: package for package in MANIFEST["packages"]}
    for name, version in wanted.items():
        assert version[0].isdigit(), name
        assert locked[f"node_modules/{name}"]["version"] == version
        assert built[name]["version"] == version
        assert built[name]["integrity"] == locked[f"node_modules/{name}"]["integrity"]


def test_lock_names_no_host() -> None:
    lock = (SOURCES / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "registry" not in lock


def test_every_licence_is_included() -> None:
    licences = (OUT / "LICENSES.txt").read_text()
    for package in MANIFEST["packages"]:
        assert f"{package['name']} {package['version']} (" in licences
