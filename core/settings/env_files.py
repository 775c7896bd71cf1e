"""The files `.env`: where they may lie, and what is in them.

One in the current folder is not read, unless that is the program's own: it would decide which Redis
and which model server are used, and so who gets a key of the environment, by a mere `cd`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import platformdirs

from core.errors import ConfigError

HOME_VARIABLE = "ASSISTANT_HOME"
ENV_FILE_VARIABLE = "ASSISTANT_ENV_FILE"
ENV_FILE = ".env"


def home_of(env: Mapping[str, str]) -> Path:
    """The data folder."""
    named = env.get(HOME_VARIABLE)
    home = Path(named or platformdirs.user_data_dir("assistant", appauthor=False))
    return home.expanduser().absolute()


def checkout() -> Path | None:
    """The folder of the program when it runs from its source; None once it is installed."""
    folder = Path(__file__).resolve().parents[2]
    return folder if (folder / "pyproject.toml").exists() else None


def with_env_files(environ: Mapping[str, str], folder: Path | None) -> dict[str, str]:
    """The environment with the variables of the files under it: the one that ASSISTANT_ENV_FILE
    names, else those in ``folder`` and, before it, in the data folder. Raises ConfigError."""
    env = dict(environ)
    if named := env.get(ENV_FILE_VARIABLE):
        return read_env_file(Path(named)) | env
    if folder is not None:
        env = read_env_file(folder / ENV_FILE) | env
    home = read_env_file(home_of(env) / ENV_FILE)
    # The environment itself wins over both, and the folder cannot name another one.
    home.pop(HOME_VARIABLE, None)
    return env | home | dict(environ)


def passed_over(environ: Mapping[str, str], cwd: Path) -> Path | None:
    """A `.env` in the current folder that is not read."""
    there = cwd / ENV_FILE
    read = [folder / ENV_FILE for folder in (checkout(), home_of(environ)) if folder is not None]
    if environ.get(ENV_FILE_VARIABLE) or not there.is_file():
        return None
    return None if any(file.exists() and file.samefile(there) for file in read) else there


def read_env_file(path: Path) -> dict[str, str]:
    """``NAME=value`` lines of a .env file; quotes around a value are dropped. Missing file:
    empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip().removeprefix("export ")
        if not bare or bare.startswith("#"):
            continue
        name, equals, value = bare.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigError(f"{path}, line {number}: write NAME=value")
        values[name.strip()] = value.strip().strip("'\"")
    return values
