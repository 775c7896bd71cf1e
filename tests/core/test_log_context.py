"""Every log line of a turn names the turn, in both forms, wherever it is written."""

from __future__ import annotations

import asyncio
import io
import logging

import orjson

from core.logs import JsonFormatter, Redactor, TextFormatter, TurnFilter, log_context

THREAD, RUN = "t_abc", "t_abc.def"


class Written:
    """A logger and the lines that it has written."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self._out = io.StringIO()
        self._handler = logging.StreamHandler(self._out)
        self._handler.setFormatter(formatter)
        self._handler.addFilter(TurnFilter())
        self.log = logging.Logger("tests.turn", logging.INFO)
        self.log.addHandler(self._handler)

    @property
    def lines(self) -> list[str]:
        """What was written."""
        return self._out.getvalue().splitlines()


def test_the_text_form_names_the_turn_only_within_it() -> None:
    written = Written(TextFormatter(Redactor(["hunter22"])))
    with log_context(THREAD, RUN):
        written.log.info("it is %s", "hunter22")
    written.log.info("after")
    first, second = written.lines
    assert first.endswith(f"tests.turn [thread_id={THREAD} run_id={RUN}]: it is [redacted]")
    assert second.endswith("tests.turn: after")


def test_the_json_form_has_fields_for_the_turn() -> None:
    written = Written(JsonFormatter(Redactor()))
    with log_context(THREAD, RUN):
        written.log.info("within")
    written.log.info("after")
    first, second = (orjson.loads(line) for line in written.lines)
    assert (first["thread_id"], first["run_id"], first["message"]) == (THREAD, RUN, "within")
    assert "run_id" not in second


async def test_tasks_and_threads_of_a_turn_write_in_its_name() -> None:
    written = Written(JsonFormatter(Redactor()))

    async def later() -> None:
        await asyncio.sleep(0)
        written.log.info("task")
        await asyncio.to_thread(written.log.info, "thread")

    with log_context(THREAD, RUN):
        task = asyncio.create_task(later())
    with log_context("t_other", "t_other.run"):
        await task
        written.log.info("other")
    lines = [orjson.loads(line) for line in written.lines]
    assert [line["run_id"] for line in lines] == [RUN, RUN, "t_other.run"]


def test_a_record_that_no_filter_saw_can_be_written() -> None:
    record = logging.LogRecord("tests", logging.INFO, __file__, 1, "plain", (), None)
    assert TextFormatter(Redactor()).format(record).endswith("tests: plain")
