"""The list of channels, and processes of a channel."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.commands import COMMANDS, all_commands
from api.commands.doctor.channels import channel_findings
from api.commands.doctor.look import Look
from channels import CHANNELS
from channels.base import Channel, check_channels
from channels.running import load_channel, run_while_wanted
from core.errors import AssistantError, ConfigError
from core.services import Process, open_process
from core.settings.source import Loaded, build
from tests.style import tree
from tests.support.echo_channel import ECHO, said
from tests.support.waiting import wait_until


def channel(name: str = "x", module: str = "tests.support.echo_channel") -> Channel:
    return Channel(name, "a channel", lambda _settings: True, module)


# ---- the list


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ([channel("")], "a channel cannot be called ''"),
        ([channel("Two Words")], "a channel cannot be called 'Two Words'"),
        ([channel("fax"), channel("fax")], "the name of the channel fax is taken"),
        ([channel("worker")], "the name of the channel worker is taken"),
    ],
)
def test_a_broken_entry_stops_every_command_and_is_named(
    channels: Sequence[Channel], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        all_commands(COMMANDS, channels)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("channels.nowhere", "the channel fax cannot be loaded: No module named"),
        ("channels.base", "the channel fax is broken: channels.base has no async function run"),
        ("api.commands.up", "the channel fax is broken: api.commands.up has no async function run"),
    ],
)
def test_a_channel_that_cannot_run_is_named(module: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_channel(channel("fax", module))


def test_each_channel_can_run_and_is_a_service() -> None:
    check_channels(CHANNELS)
    services = yaml.safe_load(tree.text(tree.ROOT / "compose.yaml"))["services"]
    for entry in CHANNELS:
        load_channel(entry)
        assert services[entry.name]["command"] == [entry.name]


# ---- a process


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Settings of a fresh home."""
    return build(tmp_path, ())


@asynccontextmanager
async def running(
    process: Process, entry: Channel, *, may_rest: bool
) -> AsyncGenerator[asyncio.Task[None]]:
    stop = asyncio.Event()
    work = run_while_wanted(entry, process, stop=stop, may_rest=may_rest)
    task = asyncio.create_task(work)
    try:
        yield task
        stop.set()
        await asyncio.wait_for(task, 10)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def logged(caplog: pytest.LogCaptureFixture, line: str, times: int) -> Callable[[], bool]:
    return lambda: caplog.messages.count(line) == times


async def test_a_channel_runs_while_the_settings_want_it(
    redis_url: str, loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_process(loaded, redis_url, role="echo") as process:
        live = process.services.settings
        async with running(process, ECHO, may_rest=False) as task:
            await live.save("telegram", {"bot_token": "1:a"})
            await wait_until(logged(caplog, "channel echo runs", 1))
            await live.save("telegram", {"bot_token": None})
            await live.save("telegram", {"bot_token": "1:b"})
            await wait_until(logged(caplog, "channel echo runs", 2))
            assert not task.done()


async def test_a_supervised_channel_ends_when_it_is_not_wanted(
    redis_url: str, loaded: Loaded
) -> None:
    async with open_process(loaded, redis_url, role="echo") as process:
        live = process.services.settings
        await live.save("telegram", {"bot_token": "1:a"})
        async with running(process, ECHO, may_rest=True) as task:
            await live.save("telegram", {"bot_token": None})
            await asyncio.wait_for(task, 10)


async def test_a_channel_that_breaks_ends_its_process_and_says_why(
    redis_url: str, loaded: Loaded
) -> None:
    said(loaded.settings.home).write_text("break\n")
    async with open_process(loaded, redis_url, role="echo") as process:
        await process.services.settings.save("telegram", {"bot_token": "1:a"})
        stop = asyncio.Event()
        with pytest.raises(RuntimeError, match="broken as asked"):
            await run_while_wanted(ECHO, process, stop=stop, may_rest=True)


async def ends_at_once(_process: Process) -> None: ...


async def test_a_channel_that_ends_by_itself_is_an_error(
    redis_url: str, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.echo_channel.run", ends_at_once)
    async with open_process(loaded, redis_url, role="echo") as process:
        await process.services.settings.save("telegram", {"bot_token": "1:a"})
        with pytest.raises(AssistantError, match="the channel echo has ended by itself"):
            await run_while_wanted(ECHO, process, stop=asyncio.Event(), may_rest=True)


async def test_the_doctor_says_whether_a_wanted_channel_runs(
    redis_url: str, loaded: Loaded
) -> None:
    entry = channel("fax")

    def look(process: Process, **more: Any) -> Look:
        redis = process.services.store.redis
        seen: dict[str, Any] = {"redis": redis, "running": True, "url": "", "unread": ""}
        source = process.services.settings.source
        return Look(loaded, settings=loaded.settings, source=source, **(seen | more))

    async with open_process(loaded, redis_url, role="worker") as worker:
        [finding] = await channel_findings(look(worker), [entry, ECHO])
        assert (finding.name, finding.status) == ("fax", "fail")
        assert "`assistant fax`" in finding.fix
        async with open_process(loaded, redis_url, role="fax"):

            async def found() -> bool:
                findings = await channel_findings(look(worker), [entry])
                return [finding.status for finding in findings] == ["ok"]

            await wait_until(found)
        assert await channel_findings(look(worker, redis=None), [entry]) == []
