"""Faults at random, in a short version for every change and a long one for `make chaos`."""

from __future__ import annotations

import random

import pytest

from tests.chaos.campaign import Report, plan, run

SHORT_SEED, SHORT_FAULTS = 4, 45
LONG_FAULTS = 1000


def unharmed(report: Report) -> None:
    """Nothing lost, nothing twice, nothing left; enough happened for that to mean something."""
    summary = report.summary()
    print(summary)  # noqa: T201 - `make chaos` shows it
    assert report.wrong == [], summary
    assert sum(len(c.sent) for c in report.conversations) > report.faults.total() / 10, summary


# The proxy's connections are cut at any moment, also while their writers are being made.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(300)
async def test_a_short_campaign_breaks_no_promise() -> None:
    report = await run(SHORT_SEED, SHORT_FAULTS)
    assert report.faults.total() >= 40
    unharmed(report)


@pytest.mark.chaos
@pytest.mark.timeout(3 * 3600)
async def test_a_long_campaign_breaks_no_promise(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = request.config.getoption("--chaos-seed", default=None)
    faults = request.config.getoption("--chaos-faults", default=None)
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    with capsys.disabled():
        print(f"\nseed {seed}: repeat with --chaos-seed {seed}")  # noqa: T201 - it must be seen
        unharmed(await run(seed, faults or LONG_FAULTS, long=True))


def test_a_seed_gives_the_same_faults_again() -> None:
    first, again = plan(9, 200, long=True), plan(9, 200, long=True)
    assert [(f.name, seed, pause) for f, seed, pause in first] == [
        (f.name, seed, pause) for f, seed, pause in again
    ]
    assert len({f.name for f, _, _ in first}) > 20
