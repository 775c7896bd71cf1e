"""One run, told as events, is the same answer for everybody who reads it: the transcript, an OpenAI
client, a terminal. A new reader joins the list READERS."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
import pytest

from api.commands.chat.client import Received
from api.commands.chat.screen import TextScreen
from api.openai.chunks import Encoder, TurnError
from core.conversations.answer import Answer
from core.conversations.inbound import Message
from core.conversations.journal import Entry
from core.conversations.transcript import read_record
from core.engine.mailbox import Turn
from core.events import (
    Event,
    MessageCompleted,
    Notice,
    ReasoningDelta,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    Unknown,
    Usage,
    payload,
)
from graph.record import Record

USAGE = Usage(3, 2)
START, AGAIN = TurnStarted("m"), TurnStarted("m", 2)
END = TurnFinished("completed")
TOOL = [ToolStarted("c", "double", {"number": 4}), ToolFinished("c", "ok", "8")]


def said(*pieces: str) -> list[Event]:
    """An answer in pieces, and its completion."""
    whole = MessageCompleted("a", "".join(pieces), USAGE, "m")
    return [*map(TextDelta, pieces), whole]


@dataclass(frozen=True)
class Case:
    """Events, all answers of the run that they tell, and how it ended."""

    name: str
    events: Sequence[Event]
    answers: Sequence[str]
    status: str = "completed"


CASES = (
    Case("plain", [START, *said("Hel", "lo"), END], ["Hello"]),
    Case("thinking", [START, ReasoningDelta("Hm"), *said("Hello"), END], ["Hello"]),
    Case("tool", [START, *TOOL, *said("It is 8."), END], ["It is 8."]),
    Case(
        "words before a tool",
        [START, TextDelta("Wait."), *TOOL, TextDelta("\n\n8"), END],
        ["Wait.\n\n8"],
    ),
    Case("two answers", [START, *said("One"), *said("Two"), END], ["One", "Two"]),
    Case(
        "resumed",
        [START, TextDelta("Hello wor"), AGAIN, *said("Hello world"), END],
        ["Hello world"],
    ),
    Case(
        "resumed with another text", [START, *said("Half"), AGAIN, *said("Whole"), END], ["Whole"]
    ),
    Case("pieces were lost", [START, MessageCompleted("a", "Hello", USAGE, "m"), END], ["Hello"]),
    Case("notice", [START, Notice("warning", "slow"), *said("Hi"), END], ["Hi"]),
    Case(
        "failed",
        [START, TextDelta("Half"), TurnFailed("stalled", "no", True), TurnFinished("failed")],
        ["Half"],
        "failed",
    ),
    Case("stopped", [START, TextDelta("Half"), TurnFinished("cancelled")], ["Half"], "cancelled"),
    Case("waiting", [START, TextDelta("Half"), TurnFinished("waiting")], ["Half"], "waiting"),
)


@dataclass(frozen=True)
class Read:
    """What one reader made of it. ``text`` ends with the newest answer."""

    text: str
    status: str


def in_fold(events: Sequence[Event]) -> Read:
    answer = Answer()
    for event in events:
        answer.take(event)
    return Read(answer.whole, str(answer.status))


def in_transcript(events: Sequence[Event]) -> Read:
    turn = Turn(Message("m", "u", "t", "web", "?"), "t.r", "1-0", 1, 1, 1, False, "")
    record = Record(turn)
    for event in events[:-1]:
        record.take(event)
    _, row = record.ending(events[-1:]).records
    kept = read_record(row)
    return Read(str(kept["text"]), str(kept["status"]))


def in_openai(events: Sequence[Event]) -> Read:
    encoder = Encoder("id", 0)
    for event in events:
        encoder.take(Entry("t", "1-0", "t.r", event.type, payload(event)))
    try:
        choice = encoder.completion()["choices"][0]
    except TurnError as error:
        return Read(encoder.answer.whole, "waiting" if error.code == "waiting" else "failed")
    status = {"stop": "completed", "length": "cancelled"}[choice["finish_reason"]]
    return Read(choice["message"]["content"], status)


def in_terminal(events: Sequence[Event]) -> Read:
    out, aside = io.StringIO(), io.StringIO()
    screen = TextScreen(out, aside)
    for event in events:
        screen.show(Received("1-0", event.type, orjson.loads(payload(event))))
    words = {"(stopped)": "cancelled", "error:": "failed", "(waits": "waiting"}
    found = [status for word, status in words.items() if word in aside.getvalue()]
    return Read(out.getvalue().removesuffix("\n"), found[0] if found else "completed")


READERS: tuple[Callable[[Sequence[Event]], Read], ...] = (
    in_fold,
    in_transcript,
    in_openai,
    in_terminal,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_every_reader_has_the_same_answer(
    reader: Callable[[Sequence[Event]], Read], case: Case
) -> None:
    read = reader(case.events)
    assert read.status == case.status
    assert read.text.endswith(case.answers[-1])
    if reader is in_transcript:
        assert read.text == case.answers[-1]
    elif reader is in_terminal:
        assert [line for line in case.answers if line not in read.text] == []
    else:
        assert read.text == "\n\n".join(case.answers)


def test_what_is_known_beside_the_text() -> None:
    answer = Answer(max_reasoning=5)
    events: list[Event | Unknown] = [
        START,
        ReasoningDelta("Hmm"),
        ReasoningDelta("mmmmm"),
        *TOOL,
        ToolStarted("d", "post", {}),
        Notice("info", "slow"),
        Unknown("hologram", {"depth": 3}),
        *said("Hi"),
    ]
    for event in events:
        answer.take(event)
    assert answer.reasoning == "Hmmmm"
    assert [(t.name, t.status, t.summary) for t in answer.tools.values()] == [
        ("double", "ok", "8"),
        ("post", "running", ""),
    ]
    assert (answer.usage, answer.model, answer.status) == (USAGE, "m", None)
    answer.take(AGAIN)
    assert (answer.text, answer.reasoning, answer.tools) == ("", "", {})
    assert answer.notices == [Notice("info", "slow")]


def test_an_outcome_without_its_beginning_is_no_error() -> None:
    """The journal may begin in the middle of a run."""
    answer = Answer()
    answer.take(TOOL[1])
    assert answer.tools["c"].status == "ok"
