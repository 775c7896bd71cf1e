"""A channel for tests: each line of a file in the home is a message, each answer a line of another.

It is wanted while a bot token is set, and breaks at the message "break".
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

from channels.base import Channel
from core.conversations.answer import Answer
from core.conversations.following import follow
from core.conversations.inbound import Message
from core.events import decode
from core.services import Process

USER = "owner"

ECHO = Channel(
    "echo",
    "talk through a file",
    wanted=lambda settings: bool(settings.telegram.bot_token.get_secret_value()),
    module="tests.support.echo_channel",
)


def said(home: Path) -> Path:
    """Messages, a line each."""
    return home / "echo.in"


def heard(home: Path) -> Path:
    """Answers, a line each."""
    return home / "echo.out"


async def run(process: Process) -> None:
    """Answer line by line, until cancelled."""
    home = process.services.settings.current.home
    done = 0
    while True:
        lines = said(home).read_text().splitlines() if said(home).exists() else []
        for number, line in enumerate(lines[done:], start=done):
            if line == "break":
                raise RuntimeError("broken as asked")
            answer = await ask(process, f"line-{number}", line)
            with heard(home).open("a") as file:
                file.write(f"{answer.status}: {answer.text}\n")
        done = len(lines)
        await asyncio.sleep(0.02)


async def ask(process: Process, message_id: str, text: str) -> Answer:
    """One message and its answer, in a conversation of its own."""
    services, answer = process.services, Answer()
    thread = await services.threads.create(USER)
    message = Message(message_id, USER, thread.id, "echo", text)
    async with process.hub.subscribe(USER, thread.id) as subscription:
        accepted = await process.conversations.send(message)
        batches = follow(services.store, subscription, thread.id, "0-0")
        async with aclosing(batches):
            async for entries in batches:
                for entry in entries:
                    if entry.run_id == accepted.run_id:
                        answer.take(decode(entry.type, entry.data))
                if answer.status is not None:
                    return answer
    raise AssertionError("the journal ended before the answer")
