"""What people do all day: they talk, call tools, stop answers, come and go, and delete."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.load import LOSSES
from benchmarks.subjects import OurChat, Ours, address
from benchmarks.wire import Lost, open_wire

KEPT = 4
"""Of so many conversations one is kept; the others are deleted when they end."""

RETRY = 0.5


@dataclass
class Tally:
    """What was done, what was lost, and what should still be there."""

    done: Counter[str] = field(default_factory=Counter[str])
    lost: list[str] = field(default_factory=list[str])
    kept: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """Conversations that were kept: the key of their user, and how many messages they have."""

    @property
    def turns(self) -> int:
        """Messages that were answered, or stopped."""
        return sum(n for what, n in self.done.items() if what.endswith("turns"))


@dataclass
class Traffic:
    """Everybody who is at it. Raises nothing: what goes wrong is in the tally."""

    subject: Ours
    user_keys: list[str]
    pause: float
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tally: Tally = field(default_factory=Tally)
    rng: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311

    async def run(self, people: int) -> None:
        """Until ``stop`` is set; each finishes first what they are at."""
        habits: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._talk,
            self._use_tools,
            self._stop_answers,
            self._stateless,
            self._come_and_go,
        ]
        everybody = (self._again(habit) for habit in habits * people)
        await asyncio.gather(*everybody)

    async def _again(self, habit: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self.stop.is_set():
            try:
                await habit()
            except LOSSES as error:
                self.tally.lost.append(f"{habit.__name__}: {error!r}"[:500])
                await asyncio.sleep(RETRY)

    async def _rest(self) -> None:
        await asyncio.sleep(self.rng.uniform(0.5, 1.5) * self.pause)

    def _key(self) -> str:
        return self.rng.choice(self.user_keys)

    async def _conversation(
        self, key: str, turn: Callable[[OurChat], Coroutine[Any, Any, None]]
    ) -> None:
        """Some turns in a new conversation, which is then deleted or kept."""
        chat, messages = await self.subject.open(key), 0
        try:
            for _ in range(self.rng.randint(3, 25)):
                if self.stop.is_set():
                    break
                await turn(chat)
                messages += 1
                await self._rest()
            if self.rng.randrange(KEPT):
                await _delete(self.subject, key, chat.thread_id)
                self.tally.done["conversations deleted"] += 1
            else:
                self.tally.kept[chat.thread_id] = key, messages
        finally:
            chat.close()

    async def _talk(self) -> None:
        async def turn(chat: OurChat) -> None:
            await chat.turn(self.rng.randint(1, 150), self.rng.choice((0, 0, 2)))
            self.tally.done["plain turns"] += 1

        await self._conversation(self._key(), turn)

    async def _use_tools(self) -> None:
        async def turn(chat: OurChat) -> None:
            note = f"note {self.rng.randrange(10**9)}"
            arguments = orjson.dumps({"key": "note", "value": note}).decode()
            await chat.ask(f"tool:set_profile {arguments}", f"stored note: {note}")
            self.tally.done["tool turns"] += 1

        await self._conversation(self._key(), turn)

    async def _stop_answers(self) -> None:
        async def turn(chat: OurChat) -> None:
            await chat.cancelled("bench:5000:20")
            self.tally.done["stopped turns"] += 1

        await self._conversation(self._key(), turn)

    async def _stateless(self) -> None:
        """The OpenAI face, whole or streaming; some hang up in the middle."""
        wire = await open_wire(*address(self.subject.url), self._key())
        count, leaves = self.rng.randint(5, 100), self.rng.random() < 0.2
        text = f"bench:{count}:20" if leaves else f"bench:{count}"
        messages = [{"role": "user", "content": text}]
        body = {"model": "assistant", "stream": True, "messages": messages}
        wire.send("POST", "/v1/chat/completions", body)
        try:
            if leaves:
                await wire.until(b"t1 ", b"t1 ")
                self.tally.done["stateless calls left"] += 1
            else:
                answer = await wire.until(b"t1 ", b"data: [DONE]")
                if f"t{count}".encode() not in answer.data:
                    raise Lost(f"no whole answer: {answer.data[-300:]!r}")
                self.tally.done["stateless turns"] += 1
        finally:
            wire.close()
        await self._rest()

    async def _come_and_go(self) -> None:
        """A reader of all conversations who hangs up after a while, without a word."""
        wire = await open_wire(*address(self.subject.url), self._key())
        try:
            wire.send("GET", "/api/events")
            await wire.until(b"", b"retry: 2000")
            await self._rest()
            self.tally.done["readers"] += 1
        finally:
            wire.close()

    async def check_kept(self) -> None:
        """Every conversation that was kept has all of its messages."""
        for thread_id, (key, messages) in self.tally.kept.items():
            wire = await open_wire(*address(self.subject.url), key)
            found = await wire.call("GET", f"/api/threads/{thread_id}?limit=500")
            wire.close()
            users = sum(message["role"] == "user" for message in found["messages"])
            if users != messages or len(found["messages"]) != 2 * messages:
                self.tally.lost.append(
                    f"{thread_id}: {users} questions of {messages}, {len(found['messages'])} in all"
                )


async def _delete(subject: Ours, key: str, thread_id: str) -> None:
    wire = await open_wire(*address(subject.url), key)
    try:
        await wire.call("DELETE", f"/api/threads/{thread_id}")
    finally:
        wire.close()
