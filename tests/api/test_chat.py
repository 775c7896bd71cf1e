"""`assistant chat` as a real process, against a server that keeps to the HTTP contract."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from pathlib import Path

import pytest

from api.commands.chat.client import Frames
from tests.support.commands import FRONT, command, environment, start
from tests.support.fake_assistant import (
    CUT,
    KEY,
    THREAD,
    event,
    fake_assistant,
    plain,
    problem,
)
from tests.support.stack import running_stack
from tests.support.waiting import wait_until

TOOL = [
    event("turn_started", message_id="m", attempt=1),
    event("reasoning_delta", text="Which time "),
    event("reasoning_delta", text="is it?"),
    event("tool_started", call_id="c", name="current_time", arguments={"time_zone": "UTC"}),
    event("tool_finished", call_id="c", status="ok", summary="noon\nsharp"),
    event("notice", level="info", text="Still waiting"),
    *plain("It is ", "noon.")[1:],
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder."""
    return tmp_path / "home"


async def test_a_pipe_gets_the_answers_alone(home: Path) -> None:
    async with fake_assistant(home, plain("One", " two"), TOOL) as fake:
        done = await command(home, "chat", "--key", KEY, given="first\n\n  \nsecond")
    assert (done.code, done.out) == (0, "One two\nIt is noon.\n")
    assert [message["text"] for message in fake.sent] == ["first", "second"]
    assert fake.created == 1
    assert "Which time is it?\n" in done.err
    assert '[current_time(time_zone="UTC") → ok: noon sharp]\n' in done.err
    assert "(info: Still waiting)" in done.err


async def test_json_prints_the_events_of_our_runs_as_they_are(home: Path) -> None:
    async with fake_assistant(home, TOOL) as fake:
        fake.add("t_1.other", plain("somebody else"))
        done = await command(home, "chat", "--json", "--key", KEY, given="hi\n")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [entry["type"] for entry in found] == [e["type"] for e in TOOL if isinstance(e, dict)]
    assert {entry["run_id"] for entry in found} == {"t_1.1"}


async def test_a_broken_stream_goes_on_at_the_last_event(home: Path) -> None:
    answer = plain("One ", "two ", "three")
    async with fake_assistant(home, [*answer[:2], CUT, *answer[2:]]) as fake:
        done = await command(home, "chat", "--key", KEY, given="hi\n")
    assert (done.code, done.out) == (0, "One two three\n")
    assert fake.resumed_at == ["0-0", "1-2"]
    assert done.err.count("connecting again") == 1


async def test_what_left_the_journal_meanwhile_comes_from_the_conversation(home: Path) -> None:
    answer = plain("One ", "two")
    async with fake_assistant(home, [*answer[:2], CUT, *answer[2:]]) as fake:
        fake.forgotten = True
        stored = {"role": "assistant", "text": "One two", "status": "completed"}
        fake.messages = [stored | {"run_id": f"{THREAD}.1"}]
        done = await command(home, "chat", "--key", KEY, given="hi\n")
    assert (done.code, done.out) == (0, "One two\n")


async def test_a_deleted_conversation_ends_the_answer_with_a_reason(home: Path) -> None:
    deleted = event("thread_deleted", run_id="")
    async with fake_assistant(home, [*plain("half")[:2], deleted]) as fake:
        done = await command(home, "chat", "--key", KEY, given="hi\n")
    assert done.code == 1
    assert "this conversation was deleted meanwhile" in done.err
    assert len(fake.resumed_at) == 1


async def test_a_second_attempt_begins_anew(home: Path) -> None:
    again = [event("turn_started", message_id="m", attempt=2), *plain("whole")[1:]]
    async with fake_assistant(home, [*plain("half")[:2], *again]):
        done = await command(home, "chat", "--key", KEY, given="hi\n")
    assert done.out == "half\nwhole\n"
    assert "begins anew" in done.err


async def test_a_failed_answer_is_told_and_the_exit_code_says_so(home: Path) -> None:
    failed = [
        event("text_delta", text="Half"),
        event("turn_failed", code="stalled", detail="The model stopped.", retryable=True),
        event("turn_finished", status="failed"),
    ]
    async with fake_assistant(home, failed, plain("fine")):
        done = await command(home, "chat", "--key", KEY, given="one\ntwo\n")
    assert (done.code, done.out) == (1, "Half\nfine\n")
    assert "error: The model stopped." in done.err


async def test_a_conversation_can_go_on(home: Path) -> None:
    async with fake_assistant(home, plain("again")) as fake:
        fake.add("t_1.old", plain("what was said before"))
        done = await command(home, "chat", "--thread", THREAD, "--key", KEY, given="hi\n")
        missing = await command(home, "chat", "--thread", "t_x", "--key", KEY, given="hi\n")
    assert (done.code, done.out) == (0, "again\n")
    assert (fake.created, fake.resumed_at) == (0, ["1-4"])
    assert (missing.code, missing.err) == (1, "assistant: there is no conversation 'x'\n")


async def test_a_busy_server_is_asked_again_with_the_same_id(home: Path) -> None:
    async with fake_assistant(home, plain("ok")) as fake:
        full = {"Retry-After": "0"}
        fake.refuse_messages = [problem(429, "inbox_full", "20 wait", **full)]
        done = await command(home, "chat", "--key", KEY, given="hi\n")
    assert (done.code, done.out) == (0, "ok\n")
    assert len(fake.sent) == 1


async def test_a_message_that_is_refused_ends_a_pipe_with_the_reason(home: Path) -> None:
    async with fake_assistant(home) as fake:
        fake.refuse_messages = [problem(413, "too_large", "longer than 256 KiB; send it in parts")]
        done = await command(home, "chat", "--key", KEY, given="hi\nthere\n")
    assert (done.code, done.out) == (1, "")
    assert done.err == "assistant: longer than 256 KiB; send it in parts\n"


async def test_a_model_cannot_steer_the_terminal(home: Path) -> None:
    async with fake_assistant(home, plain("\x1b]0;owned\x07a\x1b[2J\rb\u202e\tc\n")):
        done = await command(home, "chat", "--key", KEY, given="hi\n")
    assert done.out == "]0;owneda[2Jb\tc\n"


async def test_a_wrong_key_is_told(home: Path) -> None:
    async with fake_assistant(home):
        done = await command(home, "chat", "--key", "ak_wrong", given="hi\n")
    assert (done.code, done.err) == (1, "assistant: this API key is not valid; make another\n")


async def test_nothing_runs_here(home: Path) -> None:
    done = await command(home, "chat", given="hi\n")
    assert done.code == 1
    assert "no assistant runs on" in done.err
    assert "`assistant up`" in done.err
    async with fake_assistant(home):
        pass  # it leaves its address behind, as a killed server does
    gone = await command(home, "chat", "--key", KEY, given="hi\n")
    assert gone.code == 1
    assert "nothing answers at" in gone.err
    assert "Traceback" not in gone.err


async def test_a_key_of_this_home_goes_to_no_other_address(home: Path) -> None:
    async with fake_assistant(home):
        done = await command(home, "chat", "--url", "http://127.0.0.1:9", given="hi\n")
    assert done.code == 2
    assert "give --key" in done.err


async def test_ctrl_c_stops_the_answer_and_the_conversation_goes_on(home: Path) -> None:
    endless = plain("so it goes")[:2]
    async with fake_assistant(home, endless, plain("next")) as fake:
        process = await start(home, "chat", "--key", KEY)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"talk\nmore\n")
        process.stdin.close()
        await asyncio.wait_for(process.stdout.readuntil(b"goes"), 20)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (0, b"\nnext\n")
    assert fake.cancelled == [f"{THREAD}.1"]
    assert b"(stopped)" in err


async def test_a_second_ctrl_c_leaves(home: Path) -> None:
    async with fake_assistant(home, plain("so it goes")[:2]) as fake:
        fake.stubborn = True
        process = await start(home, "chat", "--key", KEY)
        assert process.stdin is not None
        process.stdin.write(b"talk\n")
        process.stdin.close()
        await wait_until(lambda: fake.resumed_at, timeout=20)
        process.send_signal(signal.SIGINT)
        await wait_until(lambda: fake.cancelled, timeout=20)
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130


async def test_on_a_terminal_thinking_is_dim_and_words_are_commands(home: Path) -> None:
    async with fake_assistant(home, TOOL, plain("better")) as fake:
        master, slave = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(FRONT),
            "chat",
            "--key",
            KEY,
            env=environment(home, TERM="dumb"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        os.write(master, b"time?\n/retry\n/new\n/quit\n")
        shown = await asyncio.wait_for(asyncio.to_thread(read_all, master), 20)
        os.close(master)
        assert await process.wait() == 0
    assert "\x1b[2mWhich time \x1b[0m\x1b[2mis it?\x1b[0m" in shown
    assert shown.index("It is noon.") < shown.index("better")
    assert [message["text"] for message in fake.sent] == ["time?"]


def read_all(terminal: int) -> str:
    """Everything that is written to a terminal until its process ends."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how Linux says that nobody holds the other end any more
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)


def test_frames_may_be_cut_anywhere() -> None:
    stream = (
        b"retry: 2000\n\n: ping\r\n\r\nid: 1-1\nevent: notice\n"
        b'data: {"text":"\xd0\xb9"}\n\nevent: server_shutdown\ndata: {}\n\n'
    )
    whole = Frames().feed(stream)
    assert [(e.id, e.type, e.data) for e in whole] == [
        ("1-1", "notice", {"text": "й"}),
        ("", "server_shutdown", {}),
    ]
    for at in range(len(stream)):
        frames = Frames()
        assert [*frames.feed(stream[:at]), *frames.feed(stream[at:])] == whole


async def test_it_talks_to_the_real_assistant_with_a_key_of_its_own() -> None:
    async with running_stack() as stack:
        done = await command(stack.home, "chat", given="What time is it?\nbench:20\n")
        async with stack.client() as client:
            keys = (await client.get("/api/keys")).json()["items"]
    assert done.code == 0, done.err
    assert "current_time" in done.out
    assert done.out.endswith("t19 t20 \n")
    assert [key["name"] for key in keys] == ["tests"]
