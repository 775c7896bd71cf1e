"""`assistant chat`: talk in the terminal with a running assistant."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import io
import os
import signal
import sys
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
from redis.exceptions import RedisError

from api.commands.chat.client import LOST, START, ChatClient, Received
from api.commands.chat.screen import JsonScreen, Screen, TextScreen
from api.commands.process import process_settings, running_store
from core.accounts.accounts import FIRST_ACCOUNT
from core.accounts.api_keys import create_key, revoke_key
from core.accounts.credentials import now
from core.errors import AssistantError, ConfigError, NotFound
from core.events import MessageCompleted, Reset, ThreadDeleted, TurnFinished
from core.home.web_address import read_address
from core.ids import new_id
from core.settings.source import Loaded
from core.store.connection import connect
from core.store.errors import translate

KEY_NAME = "terminal"
KEY_LIFE = timedelta(hours=12)
"""The key is revoked at the end; this is for a terminal that is killed."""

INTERRUPTED = 130
HELP = "Enter a message. /retry tries the last one again, /new begins a conversation, /quit leaves."


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--thread", metavar="ID", help="go on with this conversation")
    parser.add_argument("--url", help="address of the assistant (default: the one of this home)")
    parser.add_argument("--key", help="API key (default: one of its own, revoked at the end)")
    parser.add_argument("--json", action="store_true", help="print events as JSON lines")
    parser.epilog = (
        "Reads standard input line by line: one message a line. Ctrl-C stops an answer, "
        "a second one leaves."
    )


def run(args: argparse.Namespace) -> int:
    """Talk until the input ends. Exit code 1 when an answer failed."""
    loaded = process_settings()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    screen: Screen = JsonScreen(sys.stdout) if args.json else TextScreen(sys.stdout, sys.stderr)
    try:
        return _talk(loaded, args, screen)
    except BrokenPipeError:
        # The reader of our output has gone; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _leave(number: int, _frame: object) -> NoReturn:
    """End like Ctrl-C does, so that the key is revoked."""
    sys.exit(128 + number)


def _talk(loaded: Loaded, args: argparse.Namespace, screen: Screen) -> int:
    """The prompt runs outside the event loop: nothing may keep Ctrl-C from ending it."""
    good = True
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            talk = runner.run(_open(stack, loaded, args, screen))
            for line in lines(screen):
                good = runner.run(_attended(talk, _command(talk, line))) and good
            if talk.thread_id and sys.stdin.isatty():
                screen.say(f"Go on later with `assistant chat --thread {talk.thread_id}`.")
        finally:
            runner.run(stack.aclose())
    return 0 if good else 1


def lines(screen: Screen) -> Generator[str]:
    """Messages from the terminal or a pipe, without empty ones."""
    if not sys.stdin.isatty():
        yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        return
    # Line editing and history; loaded here because it reads its configuration on import.
    importlib.import_module("readline")
    screen.say(HELP)
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if line == "/quit":
            return
        if line:
            yield line


async def _open(
    stack: AsyncExitStack, loaded: Loaded, args: argparse.Namespace, screen: Screen
) -> Talk:
    """Connect and check the key and the conversation."""
    home, url = find_assistant(loaded, args.url)
    key = args.key
    if key is None:
        if args.url is not None and args.url.rstrip("/") != read_address(loaded.settings.home):
            raise ConfigError("give --key too: a key of this home is not sent to another address")
        key = await stack.enter_async_context(own_key(loaded, home))
    session = await stack.enter_async_context(
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
    )
    client = ChatClient(session, url, key)
    await client.call("GET", "/api/me")
    talk = Talk(client, screen)
    if args.thread is not None:
        await talk.resume(args.thread)
    return talk


def find_assistant(loaded: Loaded, url: str | None) -> tuple[Path, str]:
    """Home and address of the assistant to talk to; a demo of this home is the second choice."""
    home = loaded.settings.home
    if url is not None:
        return home, url
    for candidate in (home, home / "demo"):
        if found := read_address(candidate):
            return candidate, found
    raise AssistantError(
        f"no assistant runs on {home}; start it with `assistant up` (or `assistant demo`), "
        "or name another with --url and --key",
        code="not_running",
    )


@asynccontextmanager
async def own_key(loaded: Loaded, home: Path) -> AsyncGenerator[str]:
    """A short-lived key for the while. Raises ConfigError, StoreError."""
    settings = loaded.settings.model_copy(update={"home": home})
    redis = connect(running_store(replace(loaded, settings=settings)))
    try:
        expires_at = now() + KEY_LIFE
        key_id, secret = await create_key(
            redis, FIRST_ACCOUNT, KEY_NAME, "chat", expires_at=expires_at
        )
        try:
            yield secret
        finally:
            await revoke_key(redis, FIRST_ACCOUNT, key_id)
    except RedisError as error:
        raise translate(error) from error
    finally:
        await redis.aclose()


@dataclass
class Talk:
    """One conversation in the terminal."""

    client: ChatClient
    screen: Screen
    thread_id: str = ""
    run_id: str = ""
    _since: str = START
    _told: bool = field(default=False, repr=False)

    async def resume(self, thread_id: str) -> None:
        """Go on with a conversation. Raises AssistantError when there is none."""
        thread = await self.client.call("GET", f"/api/threads/{thread_id}?limit=1")
        self.thread_id, self._since = thread_id, str(thread["events_since"])
        self.screen.say(f"Conversation “{thread['title'] or thread_id}”.")

    def begin_anew(self) -> None:
        """The next message begins another conversation."""
        self.thread_id, self._since = "", START

    async def ask(self, text: str) -> bool:
        """Send a message and show the answer; whether it went well."""
        if not self.thread_id:
            self.thread_id = str((await self.client.call("POST", "/api/threads", {}))["id"])
        run_id = await self.client.send(self.thread_id, text, new_id("m"))
        return await self._watch(run_id)

    async def retry(self) -> bool:
        """Try the last message again."""
        if not self.thread_id:
            self.screen.say("There is nothing to try again yet.")
            return False
        answer = await self.client.call("POST", f"/api/threads/{self.thread_id}/retry")
        return await self._watch(str(answer["run_id"]))

    async def stop(self) -> None:
        """Ask the run to stop; its last event confirms it."""
        self.screen.say("(stopping …)")
        try:
            await self.client.call("POST", f"/api/runs/{self.run_id}/cancel")
        except AssistantError as error:
            self.screen.say(f"(it could not be stopped: {error.detail})")

    async def _watch(self, run_id: str) -> bool:
        """Show the events of the run until its last one."""
        self.run_id = run_id
        try:
            async with aclosing(self.client.follow(self.thread_id, self._since)) as events:
                async for event in events:
                    self._since = event.id or self._since
                    if (done := await self._take(event)) is not None:
                        return done
        finally:
            self.run_id = ""
        return False

    async def _take(self, event: Received) -> bool | None:
        """Show an event; the outcome when it was the run's last."""
        if event.type == LOST:
            if not self._told:
                self.screen.say("(the connection broke; connecting again …)")
            self._told = True
            return None
        self._told = False
        if event.type == Reset.type:
            return await self._catch_up()
        if event.type == ThreadDeleted.type:
            self.begin_anew()
            raise NotFound(
                "this conversation was deleted meanwhile; what you write next begins a new one"
            )
        if event.data.get("run_id") != self.run_id:
            return None
        self.screen.show(event)
        if event.type == TurnFinished.type:
            return event.data.get("status") != "failed"
        return None

    async def _catch_up(self) -> bool | None:
        """The journal begins later than we stopped reading: take the answer from the conversation,
        if it is there already."""
        thread = await self.client.call("GET", f"/api/threads/{self.thread_id}?limit=50")
        for message in thread["messages"]:
            if message.get("run_id") == self.run_id and message["role"] == "assistant":
                for event in told_by(message, self.thread_id):
                    self.screen.show(event)
                return message["status"] != "failed"
        return None


def told_by(message: dict[str, Any], thread_id: str) -> tuple[Received, Received]:
    """The last events of a run, from its answer in the conversation."""
    common = {"thread_id": thread_id, "run_id": message["run_id"]}
    whole = {
        "type": MessageCompleted.type,
        "message_id": message.get("id", ""),
        "text": message["text"],
        "usage": message.get("usage", {}),
        "model": message.get("model", ""),
        **common,
    }
    end = {"type": TurnFinished.type, "status": message["status"], **common}
    return Received("", MessageCompleted.type, whole), Received("", TurnFinished.type, end)


async def _command(talk: Talk, line: str) -> bool:
    """A line of input: on a terminal a few words are commands. Errors of one message end a pipe,
    but not a conversation with a person."""
    by_hand = sys.stdin.isatty()
    try:
        match line.strip() if by_hand else "":
            case "/retry":
                return await talk.retry()
            case "/new":
                talk.begin_anew()
                return True
            case "/help":
                talk.screen.say(HELP)
                return True
            case _:
                return await talk.ask(line)
    except AssistantError as error:
        if not by_hand:
            raise
        talk.screen.say(f"error: {error.detail}")
        return False


async def _attended(talk: Talk, work: Coroutine[Any, Any, bool]) -> bool:
    """Ctrl-C stops the run; the second one, or one before there is a run, leaves."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    stopping: list[asyncio.Task[None]] = []

    def interrupt() -> None:
        if stopping or not talk.run_id:
            task.cancel()
        else:
            stopping.append(asyncio.create_task(talk.stop()))

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        for stop in stopping:
            stop.cancel()
