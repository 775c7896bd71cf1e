"""Clients that do not give up: they send until they have an answer, and read with a shaky hand."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field

import httpx

from api.demo.script import bench_tokens
from tests.chaos.world import World
from tests.support.stack import Received, Shown, events
from tests.support.waiting import wait_until

READ_TIMEOUT = 15.0
"""Seconds of silence after which a reader comes again: a ping is due every ten."""

POST_LIMIT = 150.0
QUIET_LIMIT = 90.0
"""Seconds in which every accepted message must be answered, once the faults are over."""

CUT_SHARE = 0.06


@dataclass
class Sent:
    """One message: what was asked, what must come back, and how it got in."""

    message_id: str
    label: str
    text: str
    expected: str
    """The answer, if nothing went wrong with the model. Of a tool: if it ended well."""

    effect: bool
    run_id: str = ""
    tries: int = 0
    accepted_at: float = 0.0


@dataclass
class Conversation:
    """One thread, what was sent into it and what a reader saw of it."""

    thread_id: str
    sent: list[Sent] = field(default_factory=list[Sent])
    shown: dict[str, Shown] = field(default_factory=dict[str, Shown])
    last_id: str = "0-0"
    reconnects: int = 0
    wrong: list[str] = field(default_factory=list[str])
    closed: bool = False
    """Nothing more will be sent."""

    def take(self, event: Received) -> None:
        """Add an event; its id must be new."""
        if event.type == "reset":
            self.wrong.append(f"{self.thread_id}: the journal forgot {self.last_id}")
        if not event.id:
            return
        if order(event.id) <= order(self.last_id):
            self.wrong.append(f"{self.thread_id}: event {event.id} came after {self.last_id}")
        self.last_id = event.id
        self.shown.setdefault(event.data["run_id"], Shown()).take(event)

    def name_of(self, run_id: str) -> str:
        """The label of a run's message, as far as it is known."""
        return next((s.label for s in self.sent if s.run_id == run_id), run_id)

    def waiting(self) -> list[Sent]:
        """Messages whose run has not ended in the eyes of the reader."""
        return [s for s in self.sent if s.run_id and not self._ended(s.run_id)]

    def _ended(self, run_id: str) -> bool:
        return run_id in self.shown and self.shown[run_id].status is not None


@dataclass
class Answers:
    """How the web process answered while it was not hurt itself."""

    slowest: float = 0.0
    count: int = 0
    by_status: dict[str, int] = field(default_factory=dict[str, int])
    wrong: list[str] = field(default_factory=list[str])

    def note(self, world: World, status: str, began: float, about: str) -> None:
        """Add one answer."""
        self.count += 1
        self.by_status[status] = self.by_status.get(status, 0) + 1
        seconds = time.monotonic() - began
        hurt = not world.web.ready.is_set() or began - world.web_hurt_at < 6.0
        if not hurt:
            self.slowest = max(self.slowest, seconds)
        if status.startswith("4") and status != "429":
            self.wrong.append(f"{about} was answered with {status}")


def order(entry_id: str) -> tuple[int, ...]:
    """An event id as numbers."""
    return tuple(map(int, entry_id.split("-")))


def message(number: str, rng: random.Random) -> Sent:
    """A message that can be told from all others, and what must be answered."""
    label = f"{number}"
    match rng.choice(("quick", "quick", "slow", "tool", "effect", "effect")):
        case "quick":
            return _bench(label, rng.choice((5, 20, 40)), rng.choice((0, 4)))
        case "slow":
            return _bench(label, 60, 15)
        case "tool":
            line = f'tool:set_profile {{"key":"note","value":"{label}"}}'
            return Sent(label, label, f"[{label}]\n\n{line}", f"stored note: {label}", effect=False)
        case _:
            line = f'tool:append_line {{"label":"{label}"}}'
            return Sent(label, label, f"[{label}]\n\n{line}", f"appended {label}", effect=True)


def _bench(label: str, count: int, pause: int) -> Sent:
    text = f"[{label}]\n\nbench:{count}:{pause}"
    return Sent(label, label, text, "".join(bench_tokens(count)), effect=False)


async def insist(
    world: World, answers: Answers, path: str, body: dict[str, str]
) -> tuple[httpx.Response, int]:
    """POST until there is a definite answer. Raises TimeoutError."""
    tries = 0
    async with asyncio.timeout(POST_LIMIT), world.client() as client:
        while True:
            tries += 1
            began = time.monotonic()
            try:
                response = await client.post(path, json=body)
            except httpx.TransportError as error:
                answers.note(world, type(error).__name__, began, path)
            else:
                answers.note(world, str(response.status_code), began, f"{path} {response.text}")
                if response.status_code < 429:
                    return response, tries
            await asyncio.sleep(random.uniform(0.05, 0.3))


async def converse(
    world: World,
    answers: Answers,
    name: str,
    messages: int,
    rng: random.Random,
    stop: asyncio.Event,
) -> Conversation:
    """A new thread with some messages, sent one by one or in a row."""
    created, _ = await insist(world, answers, "/api/threads", {})
    conversation = Conversation(created.json()["id"])
    reader = asyncio.create_task(read(world, conversation, random.Random(rng.random())))
    try:
        for number in range(messages):
            if stop.is_set():
                break
            await _send(world, answers, conversation, message(f"{name}-m{number}", rng))
            if rng.random() < 0.6:
                await _quiet(conversation, stop)
            await asyncio.sleep(rng.uniform(0.0, 0.3))
    finally:
        conversation.closed = True
        await _quiet(conversation, stop)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    return conversation


async def _send(world: World, answers: Answers, conversation: Conversation, sent: Sent) -> None:
    path = f"/api/threads/{conversation.thread_id}/messages"
    response, sent.tries = await insist(
        world, answers, path, {"text": sent.text, "id": sent.message_id}
    )
    if response.status_code != 202:
        conversation.wrong.append(f"{sent.label}: {response.status_code} {response.text}")
        return
    sent.run_id, sent.accepted_at = response.json()["run_id"], time.time()
    conversation.sent.append(sent)
    world.note(f"accepted {sent.label} after {sent.tries}")


async def _quiet(conversation: Conversation, stop: asyncio.Event) -> None:
    """Wait for the answers to all that was sent; once the faults are over, not for ever."""
    while not stop.is_set():
        with contextlib.suppress(AssertionError):
            await wait_until(lambda: not conversation.waiting(), timeout=1, every=0.02)
            return
    with contextlib.suppress(AssertionError):  # the check says whose answer is missing
        await wait_until(lambda: not conversation.waiting(), timeout=QUIET_LIMIT, every=0.02)


async def read(world: World, conversation: Conversation, rng: random.Random) -> None:
    """Follow the thread; hang up at random and come again with the last id."""
    path = f"/api/threads/{conversation.thread_id}/events"
    while not conversation.closed or conversation.waiting():
        try:
            async with world.client(timeout=READ_TIMEOUT) as client:
                stream = events(client, path, last_id=conversation.last_id, until_idle=False)
                async for event in stream:
                    conversation.take(event)
                    if event.type in ("turn_started", "turn_finished"):
                        world.note(f"{event.type} {conversation.name_of(event.data['run_id'])}")
                    done = conversation.closed and not conversation.waiting()
                    if done or rng.random() < CUT_SHARE:
                        break
                await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue] - it is a generator
        except (httpx.TransportError, httpx.HTTPStatusError):
            await asyncio.sleep(rng.uniform(0.05, 0.2))
        conversation.reconnects += 1
