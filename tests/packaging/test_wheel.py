"""The wheel: our packages have everyday names, so they must not meet other people's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.style import tree

OURS = frozenset({*tree.PACKAGES, "assistant", "_assistant", "config"})


def python(*arguments: str, cwd: Path, path: tuple[Path, ...] = ()) -> str:
    """Run this interpreter in a bare environment; the answer is what it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(map(str, path)),
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's own files: building must not depend on what else lies around."""
    copy = tmp_path_factory.mktemp("source")
    for path in tree.shipped():
        target = copy / tree.name(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network: the build tools are among the test dependencies."""
    out = tmp_path_factory.mktemp("wheel")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), ".", cwd=source)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    target = tmp_path_factory.mktemp("site")
    arguments = ("--no-deps", "--no-index", "--target", str(target), str(wheel))
    python("-m", "pip", "install", "--quiet", "--no-compile", *arguments, cwd=target)
    return target


def test_only_our_own_names_land_beside_other_packages(installed: Path) -> None:
    found = {path.name for path in installed.iterdir()} - {"bin"}
    metadata = {entry for entry in found if entry.endswith(".dist-info")}
    assert len(metadata) == 1
    assert found - metadata == {"assistant.py", "_assistant"}
    assert [path.name for path in (installed / "bin").iterdir()] == ["assistant"]


def test_everything_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    folders = (*tree.PACKAGES, "config")
    ours = [tree.name(path) for path in tree.shipped() if tree.name(path).split("/")[0] in folders]
    assert [name for name in ours if f"_assistant/{name}" not in inside] == []


def test_tests_and_notes_stay_out_of_the_wheel(wheel: Path) -> None:
    folders = {name.split("/")[1] for name in zipfile.ZipFile(wheel).namelist() if "/" in name}
    assert folders & {"tests", "docs", "benchmarks", "notebooks", ".venv"} == set()


def test_the_installed_program_runs_and_finds_its_data(installed: Path, tmp_path: Path) -> None:
    program = (
        "import assistant, core.settings.source as s\n"
        "from pathlib import Path\n"
        "print(Path(s.__file__).parents[2], s.default_config().is_file())"
    )
    answer = python("-P", "-c", program, cwd=tmp_path, path=(installed,))
    assert answer.split() == [str(installed / "_assistant"), "True"]
    assert "usage: assistant" in python(
        "-P", "-c", "import assistant; assistant.main()", "--help", cwd=tmp_path, path=(installed,)
    )


def test_foreign_packages_of_the_same_name_do_no_harm(installed: Path, tmp_path: Path) -> None:
    for name in tree.PACKAGES:
        (tmp_path / "foreign" / name).mkdir(parents=True)
        (tmp_path / "foreign" / name / "__init__.py").write_text("raise RuntimeError('foreign')")
    program = "import assistant, core, tools"
    python("-P", "-c", program, cwd=tmp_path, path=(tmp_path / "foreign", installed))


def test_no_dependency_ships_one_of_our_names() -> None:
    owners = packages_distributions()
    taken = {name: set(owners.get(name, ())) - {"modular-assistant"} for name in OURS}
    assert {name: who for name, who in taken.items() if who} == {}
