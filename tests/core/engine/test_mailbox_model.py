"""The mailbox against a model: three workers, crashes, pauses and repeated calls at random."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from core.engine.mailbox import Busy, Mailbox, Turn
from core.errors import Fenced, InboxFull
from core.events import TextDelta
from core.settings.groups import EngineSettings
from core.store import keys
from core.store.client import Store
from core.store.connection import connect
from core.store.redis import RedisClient
from core.store.scripts import read_scripts
from tests.support.desk import Desk

T = TypeVar("T")
WORKERS = ("A", "B", "C")
WORKER = st.sampled_from(WORKERS)
ENGINE = EngineSettings(max_inbox=4, lease_ms=60_000)


@dataclass
class Model:
    """What must be true of one thread."""

    waiting: list[str] = field(default_factory=list[str])
    ended: list[str] = field(default_factory=list[str])
    crashes: dict[str, int] = field(default_factory=dict[str, int])
    holder: str | None = None
    current: dict[str, Turn] = field(default_factory=dict[str, Turn])
    """Worker → the turn that it believes to have."""
    owner_of_epoch: str | None = None
    """The worker whose turn is not fenced."""


class MailboxMachine(RuleBasedStateMachine):
    """Rules are what workers, clients and time do."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: RedisClient = connect(url)
        self.desk = Desk(Store(self.redis, read_scripts()), ENGINE)
        self.boxes = {name: Mailbox(self.desk.store, name) for name in WORKERS}
        self.model = Model()
        self.sent = 0
        self.sequence = 0
        self.thread = self.do(self.desk.thread())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.do(self.redis.flushall())
        self.do(self.redis.aclose())
        self.runner.close()

    # ---- clients

    @rule()
    def submit(self) -> None:
        name = f"m{self.sent}"
        try:
            self.do(self.desk.send(self.thread, name))
        except InboxFull:
            assert len(self.model.waiting) >= ENGINE.max_inbox
        else:
            self.sent += 1
            self.model.waiting.append(name)

    @rule(back=st.integers(1, 6))
    def submit_again(self, back: int) -> None:
        if self.sent >= back:
            assert self.do(self.desk.send(self.thread, f"m{self.sent - back}")).duplicate

    # ---- workers

    @rule(worker=WORKER, twice=st.booleans())
    def claim(self, worker: str, twice: bool) -> None:
        outcome = self.do(self.boxes[worker].claim(self.thread, ENGINE))
        model = self.model
        if model.holder not in (None, worker):
            assert isinstance(outcome, Busy)
        elif not model.waiting:
            assert outcome is None
            self._let_go()
        else:
            self._took(worker, outcome)
            if twice:
                again = self.do(self.boxes[worker].claim(self.thread, ENGINE))
                self._took(worker, again)

    def _took(self, worker: str, outcome: Turn | Busy | None) -> None:
        model = self.model
        assert isinstance(outcome, Turn)
        assert outcome.inbound.id == model.waiting[0]
        model.crashes[outcome.inbound.id] = model.crashes.get(outcome.inbound.id, 0) + 1
        assert outcome.crashes == model.crashes[outcome.inbound.id]
        model.holder = model.owner_of_epoch = worker
        model.current[worker] = outcome
        self.sequence = 0

    def _let_go(self) -> None:
        self.model.holder = self.model.owner_of_epoch = None

    def _valid(self, worker: str) -> bool:
        return self.model.owner_of_epoch == worker

    @rule(worker=WORKER, repeat=st.booleans())
    def emit(self, worker: str, repeat: bool) -> None:
        turn = self.model.current.get(worker)
        if turn is None:
            return
        self.sequence += 1
        try:
            for _ in range(1 + repeat):
                event = TextDelta(f"{turn.epoch}.{self.sequence}")
                self.do(self.boxes[worker].emit(turn, self.sequence, [event], ENGINE))
        except Fenced:
            assert not self._valid(worker)
        else:
            assert self._valid(worker)

    @rule(worker=WORKER, take_next=st.booleans(), repeat=st.booleans())
    def done(self, worker: str, take_next: bool, repeat: bool) -> None:
        turn = self.model.current.pop(worker, None)
        if turn is None:
            return
        try:
            outcome = self.do(self.desk.finish(turn, worker, take_next=take_next))
            if repeat:
                assert self.do(self.desk.finish(turn, worker, take_next=take_next)) == outcome
        except Fenced:
            assert not self._valid(worker)
            return
        assert self._valid(worker)
        self.model.ended.append(self.model.waiting.pop(0))
        if take_next and self.model.waiting:
            self._took(worker, outcome)
        else:
            assert outcome is None
            self._let_go()

    @rule(worker=WORKER)
    def release(self, worker: str) -> None:
        turn = self.model.current.pop(worker, None)
        if turn is None:
            return
        self.do(self.boxes[worker].release(turn))
        if self._valid(worker):
            self.model.crashes[turn.inbound.id] -= 1
            self._let_go()

    @rule(worker=WORKER)
    def renew(self, worker: str) -> None:
        turn = self.model.current.get(worker)
        if turn is None:
            return
        ours, _ = self.do(self.boxes[worker].renew(turn, ENGINE))
        assert ours == self._valid(worker)
        if ours:
            self.model.holder = worker

    # ---- time and accidents

    @rule()
    def lease_runs_out(self) -> None:
        """The worker paused: it still believes to have its turn."""
        self.do(self.desk.redis.delete(keys.lease(self.thread)))
        self.model.holder = None

    @rule(worker=WORKER)
    def crash(self, worker: str) -> None:
        self.model.current.pop(worker, None)
        self.boxes[worker] = Mailbox(self.desk.store, worker)
        if self.model.holder == worker:
            self.lease_runs_out()

    @rule()
    def forget_scripts(self) -> None:
        self.do(self.desk.redis.script_flush())

    # ---- what must hold

    @invariant()
    def nothing_lost_nothing_twice(self) -> None:
        assert self.do(self.desk.transcript(self.thread)) == self.model.ended
        assert self.do(self.desk.waiting(self.thread)) == len(self.model.waiting)
        told = self.do(self.desk.told(self.thread))
        assert [kind for kind, _ in told].count("turn_finished") == len(self.model.ended)
        texts = [data["text"] for kind, data in told if kind == "text_delta"]
        assert len(texts) == len(set(texts)), "a piece was written twice"

    @invariant()
    def work_is_always_known_to_the_sweeper(self) -> None:
        if self.model.waiting:
            assert self.do(self.desk.redis.hexists(keys.pending(), self.thread))


def test_the_mailbox_behaves_like_its_model(redis_url: str) -> None:
    run_state_machine_as_test(
        cast("type[RuleBasedStateMachine]", lambda: MailboxMachine(redis_url)),
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
